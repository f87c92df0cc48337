"""Load test of the web page: 20 visitors at once, and memory over 2,000 answers.

    python -m benchmarks.page PHOTO [--model URI|FOLDER] [--way photo|heat] [--clients 20] [--requests 2000] [--pause 0]

Starts `mien app` as a process of its own, with the configuration of the checkout in which it is called. Each client
posts the photo as the page does, reads the whole answer, waits `--pause` seconds and begins again; a time is one such
round trip over HTTP on 127.0.0.1, connection included. `heat` asks for heat maps too. The clients run on the same
cores. Prints times, answers a second, the server's processor time, and after each tenth of the requests its resident
memory and what it has on the disk.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import requests

WAYS = {"photo": "/api/predict", "heat": "/api/predict?heat=true"}
SECONDS = 60
MB = 1e6


@contextmanager
def server(model: str | None, folder: str) -> Iterator[tuple[str, psutil.Process]]:
    """The address of `mien app`, and its process; its videos lie below `folder`."""
    command = [sys.executable, "-m", "mien.cli.main", "app", "--port", "0", *(["--model", model] if model else [])]
    environment = {**os.environ, "TMPDIR": folder}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr
        said = ""
        for line in process.stderr:
            said += line
            if " answers at " in line:
                break
        else:
            sys.exit(said)
        try:
            yield line.split()[-1], psutil.Process(process.pid)
        finally:
            process.terminate()


class Load:
    """Clients that share a number of requests, and what they saw."""

    def __init__(self, address: str, photo: bytes, requests_: int, pause: float):
        self._address, self._photo, self._pause = address, photo, pause
        self._left = requests_
        self._lock = threading.Lock()
        self.times: list[float] = []
        self.failures: list[str] = []

    def client(self) -> None:
        """Ask until all requests are taken."""
        while self._taken():
            begin = time.perf_counter()
            try:
                self.ask()
                self.times.append(time.perf_counter() - begin)
            except (requests.RequestException, RuntimeError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            time.sleep(self._pause)

    def ask(self) -> None:
        """Send the photo, and read its faces."""
        answer = requests.post(self._address, data=self._photo, timeout=SECONDS)
        if answer.status_code != 200 or not answer.json()["faces"]:
            raise RuntimeError(f"{answer.status_code} {answer.text[:200]}")

    def _taken(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0

    @property
    def done(self) -> int:
        """Requests that were answered or failed."""
        return len(self.times) + len(self.failures)


def disk(folder: str) -> float:
    """MB of all files in a folder."""
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / MB


def run(load: Load, clients: int, total: int, process: psutil.Process, folder: str) -> float:
    """Seconds for all requests; prints memory and disk as they go."""
    threads = [threading.Thread(target=load.client) for _ in range(clients)]
    begin, step = time.perf_counter(), max(total // 10, 1)
    for thread in threads:
        thread.start()
    shown = 0
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.05)
        if load.done >= shown + step:
            shown = load.done
            print(
                f"{shown:6,} answers: {process.memory_info().rss / MB:6.0f} MB resident, {disk(folder):.1f} MB on disk"
            )
    return time.perf_counter() - begin


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--way", choices=sorted(WAYS), default="photo")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between an answer and the next photo")
    chosen = parser.parse_args()
    photo = chosen.photo.read_bytes()
    with tempfile.TemporaryDirectory() as folder, server(chosen.model, folder) as (address, process):
        load = Load(address + WAYS[chosen.way], photo, chosen.requests, chosen.pause)
        load.ask()
        print(f"     0 answers: {process.memory_info().rss / MB:6.0f} MB resident; load {os.getloadavg()[0]:.1f}")
        before = sum(process.cpu_times()[:2])
        seconds = run(load, chosen.clients, chosen.requests, process, folder)
        work = sum(process.cpu_times()[:2]) - before
    p50, p95, p99 = np.percentile(load.times, [50, 95, 99]) if load.times else (np.nan,) * 3
    print(
        f"{chosen.way}, {chosen.clients} clients, pause {chosen.pause:g} s: {len(load.times) / seconds:.1f} answers/s, "
        f"median {p50:.3f} s, 95 % within {p95:.3f} s, 99 % within {p99:.3f} s; {len(load.failures)} failures; "
        f"{1000 * work / max(load.done, 1):.0f} ms of the server's processor time an answer; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for failure in sorted(set(load.failures))[:5]:
        print(failure)


if __name__ == "__main__":
    main()
