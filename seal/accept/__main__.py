"""`python -m seal.accept --out FILE [--only SECTION ...]`: sections one after the other, a JSON that grows with each.

A section that fails leaves the others' results; one for which there is no time left says so. `passed` is true, false or
null, which is a measurement. The exit status is 1 where a section has failed.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seal.accept.bench import Bench, Result
from seal.accept.environment import environment
from seal.accept.evaluating import fewshot, hessian, knn
from seal.accept.steps import signed_step
from seal.accept.together import several_runs
from seal.accept.training import batches, generation, methods, resume, training
from seal.device import device_named, set_deterministic
from seal.errors import UserError, first_line, one_line_errors
from seal.record import write_json

SCHEMA = 1
SECONDS = 470.0  # of all sections together


@dataclass(frozen=True)
class Section:
    """What a section does, and how long it is taken to need on a GPU, s."""

    work: Callable[[Bench], Result]
    seconds: float


SECTIONS = {
    "environment": Section(environment, 15),
    "signed_step": Section(signed_step, 30),
    "batches": Section(batches, 10),
    "training": Section(training, 110),
    "resume": Section(resume, 30),
    "methods": Section(methods, 60),
    "knn": Section(knn, 30),
    "hessian": Section(hessian, 40),
    "fewshot": Section(fewshot, 40),
    "several_runs": Section(several_runs, 75),
    "generation": Section(generation, 30),
}


def accept(out: Path, bench: Bench, only: Sequence[str], seconds: float = SECONDS) -> Result:
    """Run the sections and write the JSON after each. Gives what the file holds."""
    began = time.perf_counter()
    result: Result = {
        "schema": SCHEMA, "device": str(bench.device), "tiny": bench.tiny, "sections": {},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    for name, section in SECTIONS.items():
        if only and name not in only:
            continue

        figures = guarded(section, bench, seconds - (time.perf_counter() - began))
        result["sections"][name] = figures
        result["seconds"] = round(time.perf_counter() - began, 1)
        result["passed"] = all(done["passed"] is not False for done in result["sections"].values())
        write_json(out, finite(result))

        words = {True: "passed", False: "FAILED", None: "measured"}[figures["passed"]]
        print(f"{name:12} {words:8} {figures['seconds']:7.1f} s{told(figures)}", flush=True)
    return result


def guarded(section: Section, bench: Bench, left: float) -> Result:
    """A section's figures, or what it failed by, or that there was no time; and how long it took."""
    began = time.perf_counter()
    if left < section.seconds:
        figures: Result = {"passed": False, "not_run": f"{left:.0f} s left, needs {section.seconds:.0f}; use --only"}
    else:
        try:
            figures = section.work(bench)
        except Exception:
            figures = {"passed": False, "error": traceback.format_exc()[-4000:]}
        figures |= freed(bench)
    return figures | {"seconds": round(time.perf_counter() - began, 2)}


def freed(bench: Bench) -> Result:
    """Nothing, or why no memory was given back: a device that is lost has none, and after a capture that an error has
    spoilt torch gives none back for as long as its process lives. What a process of its own does is tried all the same.
    """
    try:
        bench.free()
    except RuntimeError as error:
        return {"not_freed": first_line(error)}
    return {}


def finite(value: Any) -> Any:
    """What is not finite as its name, which JSON can hold."""
    if isinstance(value, dict):
        return {str(key): finite(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [finite(member) for member in value]
    if isinstance(value, float) and not json.dumps(value).lstrip("-")[0].isdigit():
        return str(value)
    return value


def told(figures: Result) -> str:
    """The last line of what went wrong, if anything did."""
    words = figures.get("error", figures.get("not_run", ""))
    return f"  {words.strip().splitlines()[-1]}" if words else ""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="seal accept",
        description="Prove this code on a GPU, where it has never run; it begins no section that would end after eight "
        "minutes: one JSON (docs/gpu.md).",
    )
    parser.add_argument("--out", type=Path, default=Path("acceptance.json"), metavar="FILE", help="the JSON to write")
    parser.add_argument("--only", nargs="+", default=[], choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--device", default="cuda", help="cuda, cuda:NUMBER, or cpu with --tiny")
    parser.add_argument("--tiny", action="store_true", help="so small that a CPU does it: a test of this script")
    chosen = parser.parse_args(arguments)

    with one_line_errors():
        device = device_named("cpu" if chosen.tiny and chosen.device == "cuda" else chosen.device)
        if device.type != "cuda" and not chosen.tiny:
            raise UserError(f"--device {chosen.device}: found no GPU, expected one; --tiny tries the script on a CPU")
        if device.type == "cuda":  # as a stage is by default, and before the first product: older torch looks once
            set_deterministic(True)
        result = accept(chosen.out, Bench(device, chosen.tiny), chosen.only)
        print(f"{'PASSED' if result['passed'] else 'FAILED'} in {result['seconds']:.0f} s, {chosen.out}")
    sys.exit(0 if result["passed"] else 1)


if __name__ == "__main__":
    main()
