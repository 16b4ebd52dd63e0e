"""Whether another setting would train faster here: the check of precision and layout of memory.

They are parameters and never chosen while running, because they change bits: so the doctor times and tells.
"""

import json
import subprocess
import sys

from seal.config import Params
from seal.doctor.finding import Finding
from seal.planning.setting import PRECISIONS

WORTH = 1.2  # times the tier's rate, from which on another setting is named
NAME = "training"


def check_speed(params: Params | None) -> Finding:
    """Times the four settings for two seconds, in a process of its own."""
    if params is None:
        return Finding(NAME, "warn", "not timed without params.yaml")
    if params.tier == "paper":
        return Finding(NAME, "ok", "not timed for the paper tier; `python benchmarks/training.py --tier paper` does it")

    command = [sys.executable, "-m", "seal.planning.speed"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        last_words = run.stderr.strip().splitlines() or [f"status {run.returncode}"]
        return Finding(NAME, "fail", f"a few steps of training ended: {last_words[-1]}", "see the findings above")

    timed = json.loads(run.stdout.splitlines()[-1])
    return judged(params, timed["rates"], timed["threads"])


def judged(params: Params, rates: list[float], threads: int) -> Finding:
    """`rates` in images per second: float32 in contiguous memory and channels_last, then bfloat16 in both."""
    ways = [(precision, channels_last) for precision in PRECISIONS for channels_last in (False, True)]
    rate_of = dict(zip(ways, rates, strict=True))
    here = (params.training.precision, params.training.channels_last)
    fastest = max(rate_of, key=rate_of.__getitem__)

    parts = [f"{_words(way)} {rate:,.0f}" for way, rate in rate_of.items()]
    fact = f"{', '.join(parts)} images/s by {threads} thread{'' if threads == 1 else 's'}; set: {_words(here)}"
    times = rate_of[fastest] / rate_of[here]
    if times < WORTH:
        return Finding(NAME, "ok", fact)
    return Finding(
        NAME, "ok", fact, f"{times:.1f} times as fast: {_lines(here, fastest)}. {_consequence(here, fastest)}"
    )


def _words(way: tuple[str, bool]) -> str:
    return f"{way[0]} channels_last" if way[1] else way[0]


def _lines(here: tuple[str, bool], wanted: tuple[str, bool]) -> str:
    """What to write into params.yaml."""
    lines = []
    if wanted[0] != here[0]:
        lines.append(f"`precision: {wanted[0]}`")
    if wanted[1] != here[1]:
        lines.append(f"`channels_last: {str(wanted[1]).lower()}`")
    return f"{' and '.join(lines)} under training in params.yaml"


def _consequence(here: tuple[str, bool], wanted: tuple[str, bool]) -> str:
    if wanted[0] == here[0]:
        change = "Sums round in another order"
    else:
        change = f"Products keep {'8 bits instead of 24' if wanted[0] == 'bfloat16' else '24 bits instead of 8'}"
    return f"{change}: all is trained anew, to other bits, and agrees with earlier runs by spread at best"
