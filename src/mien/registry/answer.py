"""Run a registered model on images: `python answer.py MODEL IMAGES.parquet ANSWERS.parquet`.

A program of its own that imports nothing of mien: the model brings its own copy of the package, and in a
process that has another one loaded it would silently run on that.
"""

import sys
from pathlib import Path

import mlflow.pyfunc
import pandas as pd


def main(model: str, images: str, answers: str) -> None:
    """Write the model's table of answers to the table of images."""
    served = mlflow.pyfunc.load_model(model, suppress_warnings=True)
    served.predict(pd.read_parquet(images)).to_parquet(Path(answers))


if __name__ == "__main__":
    # Python puts this file's folder first on the path, where `mien`'s own modules would be taken for others.
    sys.path.pop(0)
    main(*sys.argv[1:])
