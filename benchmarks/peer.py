"""One library's answers to faces in a file, run by that library's own Python: the other side of benchmarks/peers.py.

    PYTHON benchmarks/peer.py NAME FACES.npy ANSWERS.npz

FACES.npy holds faces (N, 48, 48) uint8 in grey; ANSWERS.npz gets `classes`, as the library calls them, and `scores`
(N, classes). Each line on standard input then asks for a round: one face after another for SECONDS. Standard output
gets `round` and the milliseconds of a face, by the processor time of this process. Only mien's own rows need mien.
"""

import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

import numpy as np

# Faces (N, 48, 48) uint8 to their scores (N, classes), and the names of the classes.
Answerer = tuple[Callable[[np.ndarray], np.ndarray], list[str]]
SECONDS: Final = 0.5
BATCH: Final = 64


def packaged(name: str) -> Answerer:
    """mien's own models."""
    from mien.inference.address import load_model_of

    model = load_model_of(name)
    return lambda faces: model.probabilities(faces[..., None]), list(model.spec.classes)


def fer(name: str) -> Answerer:
    """The network of fer: TensorFlow Lite by default, Keras on request. A face is prepared as `detect_emotions` does.

    That adds 10 pixels around a box, which faces that are cut already lack, and rounds to two digits, which makes ties:
    neither is done here.
    """
    import cv2

    library = import_module("fer.fer").FER(use_tflite=name == "fer")
    labels = library._get_labels()

    def answer(faces: np.ndarray) -> np.ndarray:
        enlarged = np.stack([cv2.resize(face, (64, 64)) for face in faces]).astype(np.float32)
        return np.asarray(library._classify_emotions((enlarged / 255 - 0.5) * 2))

    return answer, [labels[k] for k in range(len(labels))]


def facex(_: str) -> Answerer:
    """The network of facex, which is given a face in grey as its own detector cuts it."""
    module = import_module("facex.core")
    library = module.EmotionClassifier(str(Path(module.__file__ or "").parent / "assets" / "model_optimized.tflite"))
    return lambda faces: np.array([[*library.detect_emotion(face).values()] for face in faces]), library.category


def facial_emotion_recognition(_: str) -> Answerer:
    """The network of facial-emotion-recognition: a sigmoid for each class, here scaled to add up to 1.

    The library itself tells only the largest.
    """
    torch = import_module("torch")
    load = torch.load  # since PyTorch 2.6 it refuses pickled weights that it is not told to trust
    vars(torch)["load"] = lambda file: load(file, map_location="cpu", weights_only=False)
    torch.set_num_threads(1)
    library = import_module("facial_emotion_recognition").EmotionRecognition(device="cpu")

    def answer(faces: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            scores = library.network(torch.stack([library.transform(face[..., None]) for face in faces])).numpy()
        return np.asarray(scores / scores.sum(axis=1, keepdims=True))

    return answer, [library.emotions[k] for k in range(len(library.emotions))]


ANSWERERS: Final[dict[str, Callable[[str], Answerer]]] = {
    "packaged": packaged,
    "packaged-compact": packaged,
    "fer": fer,
    "fer-keras": fer,
    "facex": facex,
    "facial-emotion-recognition": facial_emotion_recognition,
}


def main(name: str, faces: Path, answers: Path) -> None:
    """Answer every face, unless the answers are there, then as many rounds as are asked for."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before a library counts the processors
    pixels = np.load(faces)
    answer, classes = ANSWERERS[name](name)
    if not answers.exists():
        scores = [answer(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
        partial = answers.with_suffix(".partial.npz")
        np.savez(partial, scores=np.concatenate(scores), classes=classes)
        partial.replace(answers)
    for _ in sys.stdin:
        count, start, end = 0, time.process_time(), time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            answer(pixels[count % len(pixels)][None])
            count += 1
        print("round", 1000 * (time.process_time() - start) / count, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
