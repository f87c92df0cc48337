"""Does `mien labels` find wrong labels? FER2013's labels, suspected or not, beside ten people's votes (FER+).

    python -m benchmarks.label_noise reports/labels/labels.csv data/ferplus8

The first is what `mien labels` wrote on FER2013, the second the folder with FER2013's csv and FER+'s fer2013new.csv. A
label counts as wrong where more than half of FER+'s votes are for another class. Printed are the shares of wrong
labels among all faces, among the suspects, and among the most suspicious; how often what `mien labels` suggests is what
the voters say; and how well its ranking tells wrong from right (area under the ROC curve, 0.5: not at all).
"""

import argparse
from pathlib import Path

import pandas as pd
from sklearn.metrics import roc_auc_score

from mien.sources.fer2013 import Fer2013

TOPS = (50, 100, 200, 500, 1000)


def judged(labels: Path, ferplus: Path) -> pd.DataFrame:
    """The ranked faces on whose label FER+'s voters agree, with `voted`, the class that they say."""
    voted = Fer2013(ferplus="majority", contempt=True).ingest(ferplus)
    names = dict(enumerate(voted.classes))
    votes = voted.faces.set_index("face_id")["label"].map(names)
    ranked = pd.read_csv(labels, dtype={"face_id": str, "image": str})
    return ranked.assign(voted=ranked["face_id"].map(votes)).dropna(subset="voted").reset_index(drop=True)


def main() -> None:
    """Print a row per part of the ranking."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("labels", type=Path)
    parser.add_argument("ferplus", type=Path)
    arguments = parser.parse_args()
    table = judged(arguments.labels, arguments.ferplus)
    table["wrong"] = table["label"] != table["voted"]
    parts = {"all faces": table, "suspects": table[table["suspect"]], "others": table[~table["suspect"]]}
    parts |= {f"first {n}": table.head(n) for n in TOPS if n <= table["suspect"].sum()}
    for name, rows in parts.items():
        wrong = rows[rows["wrong"]]
        voted = (wrong["suggested"] == wrong["voted"]).mean()
        share = f"wrong by FER+ {rows['wrong'].mean():6.1%}, of these suggested as voted {voted:.1%}"
        print(f"{name:12} {len(rows):6,} faces, {share}")
    print(f"area under the ROC curve of the ranking: {roc_auc_score(table['wrong'], -table['quality']):.3f}")


if __name__ == "__main__":
    main()
