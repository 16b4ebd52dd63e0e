"""One, two and three trainings on one card at once: each a process, whose work the driver slices by time or, under MPS,
lets run side by side. `python -m seal.accept.together DEVICE SECONDS TINY` is one of them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Timer

import torch

from seal.accept.bench import Bench, Result
from seal.accept.subjects import BATCH, data_of, networks, run_of
from seal.accept.training import ignored
from seal.captured import CapturedTrainer
from seal.clock import Clock
from seal.device import device_named, set_deterministic
from seal.errors import first_line

SECONDS = 6.0  # that each count of processes trains together
LONGEST = 60.0  # s that a count may take with its start; else it hangs
WORTH = 1.1  # times the images a second, from which on one more run on a card is worth its memory
CONTROL = "nvidia-cuda-mps-control"


def several_runs(bench: Bench) -> Result:
    """Images a second of 1, 2 and 3 processes together; how many a scale-out should put on a card like this."""
    counts = (1, 2) if bench.tiny else (1, 2, 3)
    figures: Result = {"time_slicing": rates_of(bench, counts, {}), "passed": None}
    if bench.on_gpu and shutil.which(CONTROL):
        try:
            with mps() as environment:
                figures["mps"] = rates_of(bench, counts, environment)
        # In a container it may not work.
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            figures["mps"] = {"left_out": first_line(error)}
    else:
        figures["mps"] = {"left_out": f"{CONTROL}: not found" if bench.on_gpu else "no GPU"}
    return figures | {"runs_per_gpu": best_count(figures["time_slicing"])}


def best_count(rates: Mapping[str, float]) -> int:
    """The largest count that each time gains on the one before it."""
    best = 1
    for count in range(2, len(rates) + 1):
        if rates[str(count)] < WORTH * rates[str(best)]:
            break
        best = count
    return best


def rates_of(bench: Bench, counts: tuple[int, ...], environment: Mapping[str, str]) -> dict[str, float]:
    """Images a second of all processes together, by their count."""
    return {str(count): _together(bench, count, environment) for count in counts}


def _together(bench: Bench, count: int, environment: Mapping[str, str]) -> float:
    seconds = 0.2 if bench.tiny else SECONDS
    command = [sys.executable, "-m", "seal.accept.together", str(bench.device), str(seconds), str(int(bench.tiny))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": os.environ | dict(environment)}
    processes = [subprocess.Popen(command, **pipes) for _ in range(count)]  # type: ignore[call-overload]

    def end() -> None:
        for process in processes:
            process.kill()

    def said_by(process: "subprocess.Popen[str]") -> str:
        line = process.stdout.readline().strip()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError(f"one of {count} processes ended, by itself or after {LONGEST:.0f} s; see above")
        return line

    deadline = Timer(LONGEST, end)  # a client of MPS may wait for good
    deadline.start()
    try:
        for process in processes:  # all have captured before any is timed
            said_by(process)

        for process in processes:
            with suppress(BrokenPipeError):  # of one that has ended, which the next look at it tells
                process.stdin.write("go\n")
                process.stdin.flush()
        return sum(float(said_by(process)) for process in processes)
    finally:
        deadline.cancel()
        end()
        for process in processes:
            process.communicate()


@contextmanager
def mps() -> Iterator[dict[str, str]]:
    """NVIDIA's multi-process service for processes with this environment, ended with the block.

    It numbers the cards that it sees anew, and its clients choose among those: CUDA_VISIBLE_DEVICES, if both take it,
    leaves them none.
    """
    with tempfile.TemporaryDirectory() as folder:
        places = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"} | places
        subprocess.run([CONTROL, "-d"], env=environment, check=True, timeout=LONGEST)
        try:
            yield places
        finally:
            subprocess.run([CONTROL], input="quit\n", text=True, env=environment, check=False, timeout=LONGEST)


def main(device_name: str, seconds: float, tiny: bool) -> None:
    """Capture a step, say `ready`, wait for a line, train for so long, and print images a second."""
    bench = Bench(device_named(device_name), tiny)
    if bench.on_gpu:
        set_deterministic(True)
    else:
        torch.set_num_threads(1)

    run = run_of("seal", bench, networks(bench)[-1], precision="tf32")
    trainer = CapturedTrainer(run, data_of(run, bench, BATCH * (1 if tiny else 8)), bench.device)
    clock = Clock(2, 0)
    trainer.begin_epoch(clock)
    trainer.train_epoch(clock, ignored)
    bench.wait()
    print("ready", flush=True)
    sys.stdin.readline()

    images, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        trainer.train_epoch(clock, ignored)  # ends with a value that waits for the device
        images += len(trainer.data.train.images)
    print(images / (time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3] == "1")
