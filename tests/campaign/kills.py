"""The kill campaign: `python -m tests.campaign.kills [--kills N] [--seconds S] [--seed K]`.

SIGKILL, SIGTERM or SIGINT meets a stage at a random moment, in a copy of a small project; it is then run again, whole.
All files of the record must be those of a project that nothing has met, bit for bit, without litter and with no process
left. What was done is kept in scratch/kills.jsonl, so that a campaign that was stopped goes on.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.campaign.cases import arguments_of, go_through

ROOT = Path(__file__).parents[2]
KEPT = Path("scratch/kills.jsonl")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LONGEST_START = 8.0  # s, until a stage has done all its work here
STAGES = {
    "fetch": ("seal.data.fetch", "mine"),
    "pack": ("seal.data.packing", "mine"),
    "base": ("seal.train", "--run", "normal-0"),
    "train": ("seal.train", "--run", "seal-0"),
    "prediction_depth": ("eval.prediction_depth", "--run", "normal-0"),
}


def compared(project: Path) -> dict[str, bytes]:
    files = {}
    for name in ("data", "results"):
        for path in sorted((project / name).rglob("*")):
            if path.is_file():
                files[str(path.relative_to(project))] = path.read_bytes()
    return files


def start(stage: str, project: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *STAGES[stage]]
    return subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def killed(stage: str, number: int, seed: int, project: Path) -> str:
    """What is wrong after a stage was met by a signal and run again; empty where nothing is."""
    rng = random.Random(f"{seed}/{stage}/{number}")
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "project"
        shutil.copytree(project, copy, symlinks=True)
        if stage in ("base", "train"):
            shutil.rmtree(copy / "scratch")

        ending, process = rng.choice(SIGNALS), start(stage, copy)
        time.sleep(rng.random() * LONGEST_START)
        with suppress(ProcessLookupError):
            process.send_signal(ending)
        words = process.communicate(timeout=60)[1]
        if ending == signal.SIGINT and b"Traceback" in words:
            return f"a traceback: {words[-200:]!r}"

        again = start(stage, copy)
        words = again.communicate(timeout=120)[1]
        if again.returncode:
            return f"run again after {ending.name} it ended with {again.returncode}: {words[-200:]!r}"
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 0)
            return "a process lives on"
        if compared(copy) != compared(project):
            return f"after {ending.name} other files"
    return ""


def main() -> None:
    chosen = arguments_of("python -m tests.campaign.kills", "kills", 60, "stage")
    done = go_through(STAGES, "stage", chosen.kills, killed, KEPT, seconds=chosen.seconds, seed=chosen.seed)

    counts = Counter((case["stage"], bool(case["problem"])) for case in done)
    text = "\n".join(
        ["stage,passed,failed", *(f"{name},{counts[name, False]},{counts[name, True]}" for name in STAGES)]
    )
    print(text)
    if chosen.counts:
        chosen.counts.write_text(text + "\n")
    raise SystemExit(1 if any(failed for _, failed in counts) else 0)


if __name__ == "__main__":
    main()
