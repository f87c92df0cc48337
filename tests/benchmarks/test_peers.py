"""A model that is compared with others answers in a process of its own, and its classes are matched by name."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.peers import CLASSES, WORKER, probabilities
from mien.inference.address import load_model_of


def test_a_worker_answers_the_faces_as_the_model_does_and_tells_a_round(tmp_path: Path) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (70, 48, 48), np.uint8)  # more than a batch
    np.save(tmp_path / "faces.npy", faces)
    command = [sys.executable, WORKER, "packaged-compact", tmp_path / "faces.npy", tmp_path / "answers.npz"]
    done = subprocess.run(command, input="\n", capture_output=True, text=True, check=True)
    assert done.stdout.startswith("round ")
    assert 0 < float(done.stdout.split()[1]) < 1000
    model = load_model_of("packaged-compact")
    assert model.spec.classes == CLASSES
    np.testing.assert_allclose(
        probabilities(tmp_path / "answers.npz"), model.probabilities(faces[..., None]), rtol=1e-6
    )


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    names = ["anger", "Disgust", "fear", "happy", "neutral", "sadness", "surprised"]
    np.savez(tmp_path / "answers.npz", scores=2 * np.eye(7), classes=names)
    answered = probabilities(tmp_path / "answers.npz").argmax(axis=1)
    assert [CLASSES[k] for k in answered] == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
