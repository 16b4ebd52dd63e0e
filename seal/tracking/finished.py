"""What MLflow shows of a run that is over: as plain values, read from its record and not yet in any database."""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seal.record import run_digest
from seal.runs import RECORD, RunFolder


@dataclass(frozen=True)
class FinishedRun:
    """JSON values, so that a training can send them to the process that writes the view."""

    summary: dict[str, Any]
    evaluations: dict[str, Any]  # the `values` of each evaluation, by folder and generation: transfer-digits-gen-02
    texts: dict[str, str]  # of the files of RECORD
    digest: str

    @classmethod
    def of(cls, run: RunFolder) -> "FinishedRun":
        evaluations, folders = {}, run.evaluation_folders()
        for folder in folders:
            for file in run.evaluations(folder.name).values():
                evaluations[f"{folder.name}-{file.path.stem}"] = dict(file.values)

        texts = {name: run.existing(name).read_text(encoding="utf-8") for name in RECORD}
        parts = [run_digest(run.folder), *(folder.name for folder in folders)]  # of those there, which count
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return cls(dict(run.summary), evaluations, texts, digest)


def final_values(run: FinishedRun) -> Iterator[tuple[str, float]]:
    """`final/...`: losses and accuracies at the end, and every number among the evaluations' `values`.

    A table of runs shows the last value of a metric only, so each of these is logged once. Of a run that diverged
    the former are left out: what its last whole generation reached is no result, and a table would rank it as one.
    """
    final = {} if run.summary["diverged"] else run.summary["final"] or {}
    ends = {name: value for name, value in final.items() if name.endswith(("loss", "accuracy"))}

    yield from numbers(ends, "final/")
    yield from numbers(final.get("best") or {}, "final/best/")
    for name, values in run.evaluations.items():
        yield from numbers(values, f"final/{name}/")


def numbers(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers of nested dicts, under path names that MLflow accepts; lists are left to the files."""
    for key, value in tree.items():
        name = prefix + re.sub(r"[^\w\-. :]", "_", str(key))
        if isinstance(value, Mapping):
            yield from numbers(value, f"{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name, value
