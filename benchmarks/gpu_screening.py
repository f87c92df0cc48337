"""Screening of training recipes on one GPU: many trainings of FER2013 at once, evaluated on PublicTest.

    python -m benchmarks.gpu_screening fer2013.csv jobs.json OUT --streams 16

`jobs.json` is a list of `Job` settings; a results file is such a list too, so its rows can be trained again. Writes
OUT/results.jsonl and OUT/probabilities.npz (PublicTest, averaged weights, with flip: ensembles are made of them).
The faces stay on the device, a training step is one CUDA graph, and each training has a stream of its own, since a
small network does not fill a GPU. Needs PyTorch and NumPy alone; without a GPU it runs step by step.
"""

import argparse
import copy
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.gpu_recipes import CLASSES, DRAWS, Data, Job, answers, augment, build, logits_of, mix, schedules

EAGER_STEPS = 5  # ordinary steps before a graph is captured: they make the optimizer's state and choose kernels
AHEAD = 16  # steps between two looks at the device; twice as many may be queued


class Training:
    """One training; `run` gives way to the others every few steps."""

    def __init__(self, job: Job, data: Data, trained: dict[str, nn.Module]) -> None:
        self.job, self.data, self.device = job, data, data.faces.device
        torch.default_generator.manual_seed(job.seed)  # torch.manual_seed would restart the dropout of the others
        self.net = build(job).to(self.device)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.pairs = [[t for t in n.state_dict().values() if t.is_floating_point()] for n in (self.ema, self.net)]
        self.teachers = [trained[name] for name in job.teachers]
        self.steps = len(data.faces) // job.batch
        self.generator = torch.Generator(self.device).manual_seed(job.seed)
        self.order = torch.zeros(self.steps, job.batch, dtype=torch.long, device=self.device)
        self.draws = torch.zeros(self.steps, job.batch, DRAWS, device=self.device)
        self.fixed = data.normalise(data.faces[: job.batch, :, : job.size, : job.size])
        self.count = torch.zeros(1, dtype=torch.long, device=self.device)
        self.rates, self.shares = (
            torch.tensor(a, dtype=torch.float32, device=self.device) for a in schedules(job, job.epochs * self.steps)
        )
        self.rate = torch.zeros((), device=self.device)
        self.optimizer = self.make_optimizer()
        self.loss_of = torch.compile(self.loss, dynamic=False) if job.compile else self.loss
        self.graph: torch.cuda.CUDAGraph | None = None
        self.event: Any = None
        self.taken = 0
        self.result: dict[str, Any] = {}
        self.probabilities = torch.empty(0)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """The job's optimizer, without decay on biases and normalisation; its rate is a tensor that graphs read."""
        matrices, vectors = ([p for p in self.net.parameters() if (p.ndim > 1) == wanted] for wanted in (True, False))
        groups = [{"params": matrices, "weight_decay": self.job.decay}, {"params": vectors, "weight_decay": 0.0}]
        if self.job.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=self.rate, momentum=0.9, nesterov=True, fused=True)
        return torch.optim.AdamW(groups, lr=self.rate, fused=True, capturable=self.device.type == "cuda")

    def loss(self, faces: Tensor, labels: Tensor, draws: Tensor, share: Tensor) -> Tensor:
        """Loss of one batch of uint8 faces, augmented here; `share` is `(1,)`."""
        job, targets = self.job, (labels[:, None] == torch.arange(CLASSES, device=self.device)).float()
        faces = faces if job.bare else augment(self.data.normalise(faces), draws, job)
        faces, targets = mix(faces, targets, draws, share, job)
        logits = logits_of(self.net, faces)
        if self.teachers:
            with torch.no_grad():
                targets = torch.stack([logits_of(teacher, faces).softmax(1) for teacher in self.teachers]).mean(0)
        return F.cross_entropy(logits, targets, label_smoothing=0.0 if self.teachers else job.smoothing)

    def step(self) -> None:
        """One step that needs nothing of the host, so that a graph can repeat it."""
        row = self.count % self.steps
        picked = self.order[row][0]
        faces = self.fixed if self.job.bare else self.data.faces[picked]
        self.rate.copy_(self.rates[self.count][0])
        self.optimizer.zero_grad(set_to_none=True)
        self.loss_of(faces, self.data.labels[picked], self.draws[row][0], self.shares[self.count]).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        torch._foreach_lerp_(self.pairs[0], self.pairs[1], 1 / (self.job.ema_epochs * self.steps))
        self.count += 1

    def advance(self) -> None:
        """One step; on a GPU as a CUDA graph, captured after a few ordinary ones."""
        self.taken += 1
        if self.device.type == "cpu" or not self.job.graph or self.taken <= EAGER_STEPS:
            self.step()
            return
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=torch.cuda.current_stream()):
                self.step()
        self.graph.replay()

    def pace(self) -> Iterator[None]:
        """Give way until the device has done what was asked before the last call of this.

        A full queue would hold up the host, and with it the other trainings.
        """
        previous = self.event
        if self.device.type == "cuda":
            self.event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.event.record()
        yield
        while previous and not previous.query():
            yield

    def run(self) -> Iterator[None]:
        """Train, then fill `result` and `probabilities`; the rate in `result` leaves out the first epoch."""
        epochs = [time.perf_counter()]
        for _ in range(self.job.epochs):
            order = torch.rand(len(self.data.faces), generator=self.generator, device=self.device).argsort()
            self.order.copy_(order[: self.order.numel()].view_as(self.order))
            self.draws.uniform_(generator=self.generator)
            for i in range(self.steps):
                self.advance()
                if i % AHEAD == AHEAD - 1:
                    yield from self.pace()
            epochs.append(time.perf_counter())
        data, size = self.data, self.job.size
        nets, faces = {"last": self.net.eval(), "averaged": self.ema}, data.normalise(data.validation)
        views = {weights: answers(net, faces, size) for weights, net in nets.items()}
        right = {w: {v: (p.argmax(1) == data.truth).float().mean() for v, p in a.items()} for w, a in views.items()}
        seen = answers(self.ema, data.normalise(data.faces[:4096]), size)["centre"].argmax(1) == data.labels[:4096]
        self.probabilities = views["averaged"]["ten"]
        yield from self.pace()
        yield from self.pace()
        trained = (self.job.epochs - 1) * self.steps * self.job.batch
        self.result = {
            "parameters": sum(p.numel() for p in self.net.parameters()),
            "accuracy": {w: {v: round(t.item(), 4) for v, t in a.items()} for w, a in right.items()},
            "train_accuracy": round(seen.float().mean().item(), 4),
            "nll": round(F.nll_loss(self.probabilities.log(), data.truth).item(), 4),
            "seconds": round(time.perf_counter() - epochs[0], 1),
            "images_per_second": round(trained / (epochs[-1] - epochs[1])) if trained else None,
        }


def screen(waiting: list[Job], data: Data, streams: int, out: Path, minutes: float) -> None:
    """Train the jobs, so many at a time, until the time is over; write each as it ends."""
    device, begin = data.faces.device, time.time()
    on_gpu = device.type == "cuda"
    made_on = {"gpu": torch.cuda.get_device_name(device) if on_gpu else None, "torch": torch.__version__}
    active: list[tuple[Training, Iterator[None], torch.cuda.Stream | None]] = []
    trained: dict[str, nn.Module] = {}
    probabilities: dict[str, np.ndarray] = {}
    while (waiting or active) and time.time() - begin < minutes * 60:
        ready = next((j for j in waiting if all(t in trained for t in j.teachers)), None)
        if ready and len(active) < streams:
            waiting.remove(ready)
            stream = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]
            with torch.cuda.stream(stream):
                training = Training(ready, data, trained)
            active.append((training, training.run(), stream))
        for entry in list(active):
            training, steps, stream = entry
            with torch.cuda.stream(stream):
                if next(steps, True) is None:
                    continue
            active.remove(entry)
            row = dataclasses.asdict(training.job) | training.result | made_on | {"streams": streams}
            if on_gpu:
                row["peak_memory_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
            with (out / "results.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            probabilities[training.job.name] = training.probabilities.half().cpu().numpy()
            np.savez(out / "probabilities.npz", **probabilities)  # type: ignore[arg-type]
            trained[training.job.name] = training.ema
            print(f"{time.time() - begin:6.1f} s", training.job.name, training.result, flush=True)


def main() -> None:
    """Read the arguments and the jobs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("faces", "jobs", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--rows", type=int, help="only so many faces of each part: a rehearsal")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    data = Data(options.faces, torch.device("cuda" if torch.cuda.is_available() else "cpu"), options.rows)
    names, rows = {field.name for field in dataclasses.fields(Job)}, json.loads(options.jobs.read_text())
    jobs = [Job(**{k: v for k, v in row.items() if k in names}) for row in rows]
    options.out.mkdir(parents=True, exist_ok=True)
    if absent := {teacher for job in jobs for teacher in job.teachers} - {job.name for job in jobs}:
        parser.error(f"{options.jobs}: no job is named {', '.join(sorted(absent))}, which others have as teachers.")
    screen(jobs, data, options.streams, options.out, options.minutes)


if __name__ == "__main__":
    main()
