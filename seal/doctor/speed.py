"""Whether another setting would train faster here: the check of precision and layout of memory.

They are parameters and never chosen while running, because they change bits: so the doctor times and tells.
"""

import json
import subprocess
import sys

from seal.config import Params
from seal.doctor.finding import Finding
from seal.planning.setting import CPU_TF32, WAYS, Way

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
    """`rates` in images per second, in the order of WAYS."""
    rate_of = dict(zip(WAYS, rates, strict=True))
    training = params.training
    here = Way(CPU_TF32 if training.precision == "tf32" else training.precision, training.channels_last)
    fastest = max(WAYS, key=rate_of.__getitem__)

    timed = [f"{way} {rate:,.0f}" for way, rate in rate_of.items()]
    fact = f"{'; '.join(timed)} images/s by {threads} thread{'' if threads == 1 else 's'}. Set: {here}"
    if not all(rates):
        return Finding(NAME, "warn", fact, "0: no step ended in the time that it had; see what else is at work here")

    times = rate_of[fastest] / rate_of[here]
    if times < WORTH:
        return Finding(NAME, "ok", fact)

    lines = f"{_lines(here, fastest)} under training in params.yaml"
    return Finding(NAME, "ok", fact, f"{times:.1f} times as fast: {lines}. {_consequence(here, fastest)}")


def _lines(here: Way, wanted: Way) -> str:
    """What to write."""
    lines = []
    if wanted.precision != here.precision:
        lines.append(f"`precision: {wanted.precision}`")
    if wanted.channels_last != here.channels_last:
        lines.append(f"`channels_last: {str(wanted.channels_last).lower()}`")
    return " and ".join(lines)


def _consequence(here: Way, wanted: Way) -> str:
    if wanted.precision == here.precision:
        change = "Sums round in another order"
    elif wanted.precision == "bfloat16":
        change = "Products keep 8 bits instead of 24"
    else:
        change = "Products keep 24 bits instead of 8"
    return f"{change}: all is trained anew, to other bits, and agrees with earlier runs by spread at best"
