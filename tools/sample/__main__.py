"""Command that draws the embedded sample: `python -m tools.sample [FOLDER]`, or `make sample`."""

import sys
from pathlib import Path

from tools.sample.dataset import draw_sample


def main(folder: Path) -> None:
    """Draw the data set into `folder`, unless something lies there already."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()  # an empty folder is there to be filled
    if folder.exists():
        print(f"{folder} is there already; nothing was drawn.")
        return
    draw_sample(folder)
    print(f"Drew the sample into {folder}.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data/sample"))
