"""The report's section on evidence: the stages and files that each verdict rests on, by their hashes."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eval.report.document import Section, Table
from eval.report.verdicts import VERDICT_CLASSES, Claim

STAGE = re.compile(r"(?P<kind>\w+)@((?P<arm>\w+)-)?(?P<seed>\d+)(-(?P<target>\w+))?")
SHOWN = 16  # hexadecimal digits of a hash

Files = Mapping[str, Any]  # of claims.json


def evidence(claims: Mapping[str, Any]) -> Section:
    """The stages and hashes that each verdict rests on, and every file with its own."""
    files = claims["files"]
    rests = []
    for claim in claims["claims"]:
        if claim["files"]:
            rests.append(_rests_on(claim, files))
    columns = ["claim", "verdict", "stages", "sha256"]
    note = "A verdict's hash is over the names and hashes of its files. claims.json has all of them in full."
    by_claim = Table("What each verdict rests on", columns, rests, note, classes=VERDICT_CLASSES)

    rows = [[name, file["stage"], file["sha256"][:SHOWN]] for name, file in files.items()]
    return Section("Evidence", parts=[by_claim, Table("Files", ["file", "stage", "sha256"], rows)])


def _rests_on(claim: Claim, files: Files) -> list[str]:
    stages, digest = [], hashlib.sha256()
    for name in sorted(claim["files"]):
        stages.append(files[name]["stage"])
        digest.update(f"{name}:{files[name]['sha256']}\n".encode())
    return [claim["id"], claim["verdict"], shortened(stages), digest.hexdigest()[:SHOWN]]


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
