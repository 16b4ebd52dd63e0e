"""What each verdict rests on: the stages that wrote its files, in a shell's braces, and one hash over all of them."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eval.report.document import Table

STAGE = re.compile(r"(?P<kind>\w+)@((?P<arm>\w+)-)?(?P<seed>\d+)(-(?P<target>\w+))?")
SHOWN = 16  # hexadecimal digits of a hash

Files = Mapping[str, Any]  # of claims.json, which has every file's own hash


def evidence(document: Mapping[str, Any]) -> Table:
    rows = []
    for claim in document["claims"]:
        if claim["files"]:
            rows.append([claim["id"], *rests_on(claim, document["files"])])
    note = "A hash is over names and hashes of the claim's files, which claims.json has in full."
    return Table("What each verdict rests on", ["claim", "stages", "sha256"], rows, note)


def rests_on(claim: Mapping[str, Any], files: Files) -> tuple[str, str]:
    """The stages of a claim's files, and their hash."""
    stages, digest = [], hashlib.sha256()
    for name in sorted(claim["files"]):
        stages.append(files[name]["stage"])
        digest.update(f"{name}:{files[name]['sha256']}\n".encode())
    return shortened(stages), digest.hexdigest()[:SHOWN]


def shortened(stages: Iterable[str]) -> str:
    """Stages in a shell's braces: train@llf-0, train@llf-1, train@seal-0, train@seal-1 as train@{llf,seal}-{0,1}."""
    seeds: dict[tuple[str, str, str], set[int]] = {}
    for stage in stages:
        match = STAGE.fullmatch(stage)
        if match is None:
            raise ValueError(f"{stage}: not a stage of a run")
        place = match["kind"], match["target"] or "", match["arm"] or ""
        seeds.setdefault(place, set()).add(int(match["seed"]))

    arms_alike: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
    for (kind, target, arm), numbers in sorted(seeds.items()):
        arms_alike.setdefault((kind, target, tuple(sorted(numbers))), []).append(arm)

    names = []
    for (kind, target, numbers_alike), arms in arms_alike.items():
        parts = filter(None, (_braces(arms), _braces(numbers_alike), target))
        names.append(f"{kind}@{'-'.join(parts)}")
    return " ".join(names)


def _braces(values: Sequence[object]) -> str:
    text = ",".join(map(str, values))
    return f"{{{text}}}" if len(values) > 1 else text
