"""A model is only registered if, loaded as MLflow serves it, it answers as it was evaluated."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from mien.errors import UserError
from mien.registry.candidate import Candidate
from mien.registry.champion import Cutter, as_png
from mien.registry.scores import read_test_set

FACES: Final = 16
TOLERANCE: Final = 1e-4  # of a probability; predictions.csv keeps six digits


@dataclass(frozen=True)
class AnswersAsEvaluated:
    """Called with the folder of a saved model before it goes up."""

    candidate: Candidate
    predictions: Path
    cut: Cutter

    def __call__(self, folder: Path) -> None:
        """Compare the served answers to some test faces with those of predictions.csv.

        Raises:
            UserError: they differ.
        """
        import mlflow.pyfunc

        test = read_test_set(self.candidate.split, self.predictions)
        faces = test.faces.head(FACES)
        images = pd.DataFrame({"image": [as_png(face) for face in self.cut(self.candidate.spec, faces).pixels]})
        served = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
        answers = served.predict(images)[list(self.candidate.spec["classes"])].to_numpy(dtype=np.float64)
        apart = np.abs(answers - test.probabilities[: len(faces)]).max(axis=1)
        if (worst := int(apart.argmax())) >= 0 and apart[worst] > TOLERANCE:
            raise UserError(
                f"the model to be served answers {apart[worst]:.4f} apart from its evaluation on face "
                f"{faces['face_id'].iloc[worst]}; `dvc repro -f evaluate` evaluates the weights as they are."
            )
