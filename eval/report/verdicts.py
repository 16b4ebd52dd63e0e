"""The report's verdicts: each claim's, what the paper's own numbers say against its text, and the evidence by hash."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from eval.report.document import Section, Table

VERDICT_CLASSES = {
    "SUPPORTED": "supported", "REFUTED": "refuted", "WEAK": "weak", "INCONCLUSIVE": "inconclusive",
    "NOT-COMPARABLE": "none", "NOT-RUN": "none", "SKIPPED-DATA": "none",
}  # fmt: skip
STAGE = re.compile(r"(?P<kind>\w+)@((?P<arm>\w+)-)?(?P<seed>\d+)(-(?P<target>\w+))?")
LEVEL = 0.05  # of a claim that is not primary
FEW_SHOT = ("fewshot", "fewshot_affines")
SEVERAL = 4  # names that are shown one by one
DECIDED = ("SUPPORTED", "REFUTED")
SHOWN = 16  # hexadecimal digits of a hash


def verdicts(claims: Mapping[str, Any]) -> Section:
    """Each claim's verdict and its conditions; the paper against itself; what cannot be tested."""
    rows = [
        [claim["says"] + cells(claim) + (" *" if claim["primary"] else ""), claim["verdict"], *measured, claim["place"]]
        for claim in claims["claims"]
        if (measured := smallest_difference(claim))
    ]
    note = (
        "*: a primary outcome, fixed beforehand, judged at Holm's level. Differences are positive as claimed; of a "
        "chain or family the smallest is shown, with a 95% interval unless it says another. With one seed the interval "
        "is over test items and says only that these two checkpoints differ. 80%: the difference that so many seeds "
        "would tell in 80% of studies."
    )
    columns = ["claim", "verdict", "difference", "seeds", "80%", "place"]  # a telephone shows the first two
    tested = Table("What the record says of each claim that it bears on", columns, rows, note, classes=VERDICT_CLASSES)
    conditions = [[name, each["says"]] for name, each in claims["conditions"].items()]
    regime = Table("Conditions, without which a claim is not comparable", ["", "what has to hold"], conditions)
    why = [[each["says"], each["place"], each["why"]] for each in claims["untestable"]]
    untestable = Table("Claims that cannot be tested", ["claim", "place", "why"], why)
    parts = [tested, regime, contradictions(claims["claims"]), untestable]
    return Section("Verdicts", text=[counted(claims["claims"]), *told(claims["claims"]), *failed(claims)], parts=parts)


def counted(claims: Sequence[Mapping[str, Any]]) -> str:
    """How many claims have which verdict."""
    counts = Counter(claim["verdict"] for claim in claims)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICT_CLASSES if counts[verdict])
    return f"Of {len(claims)} claims: {said}."


def told(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which claims hold and which do not, a paragraph each."""
    found = {verdict: [each["says"] for each in claims if each["verdict"] == verdict] for verdict in DECIDED}
    return [f"{verdict}: {' '.join(says)}" for verdict, says in found.items() if says]


def failed(claims: Mapping[str, Any]) -> list[str]:
    """Why claims are NOT-COMPARABLE, a paragraph a reason; R4 first, which says what kind of scale this is."""
    reasons = Counter(claim["reason"] for claim in claims["claims"] if claim["verdict"] == "NOT-COMPARABLE")
    paragraphs = []
    for reason, count in sorted(reasons.items(), key=lambda item: (not item[0].startswith("R4: "), -item[1])):
        name, _, found = reason.partition(": ")
        if name in claims["conditions"]:
            scale = "This scale does not overfit with length as the paper's does. " if name == "R4" else ""
            reason = f"{name} fails, that {claims['conditions'][name]['says']}: {found}"
        else:
            scale = ""
        paragraphs.append(f"{scale}{count} NOT-COMPARABLE: {reason}.")
    return paragraphs


def cells(claim: Mapping[str, Any]) -> str:
    """Over how many cells of which targets, or over which blocks, a family's mean was taken here."""
    if claim["test"] != "family":
        return ""
    found = next(each["cells"] for each in claim["comparisons"] if "mean" in each)
    names = [word for cell in found for word in cell.split() if word not in FEW_SHOT and not word.endswith("-shot")]
    unique = list(dict.fromkeys(names))
    shown = ", ".join(unique) if len(unique) <= SEVERAL else f"{unique[0]} to {unique[-1]}"
    paper = claim["where"]["paper_targets"]
    return f" ({len(found)} cells: {shown}{', stand-ins' if paper and not {*paper} & {*unique} else ''})"


def smallest_difference(claim: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Of a claim's comparisons the one that is least as claimed, with its interval; over how many seeds; and which
    difference these would have told with 80% power."""
    measured = [each for each in claim["comparisons"] if "mean" in each]
    if not measured:
        return None
    worst = min(measured, key=lambda each: each["mean"])
    interval = worst["interval"] or worst["item_interval"]
    span = f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else ""
    level = f" at {100 * (1 - worst['level']):.1f}%" if interval and worst["level"] != LEVEL else ""
    power = "" if worst["detectable"] is None else f"{worst['detectable']:.2f}"
    return f"{worst['mean']:+.2f}{span}{level} {claim['unit']}".strip(), str(len(worst["seeds"])), power


def contradictions(claims: Sequence[Mapping[str, Any]]) -> Table:
    """The claims that the paper's own numbers speak against, cells of one claim together."""
    against = [claim for claim in claims if claim["contradiction"]]
    rows = []
    for (group, words), found in groupby(against, key=lambda claim: (claim["group"], claim["contradiction"])):
        members = list(found)
        cells = ", ".join(" ".join(each["id"].split(".")[1:]) for each in members)
        says = members[0]["says"] if len(members) == 1 else f"{group}, {len(members)} times: {cells}"
        rows.append([says, members[0]["place"], words])
    return Table("Where the paper's own numbers speak against its text", ["claim", "place", "its numbers"], rows)


def evidence(claims: Mapping[str, Any]) -> Section:
    """The stages and hashes that each verdict rests on, and every file with its own."""
    files = claims["files"]
    rests = [
        [each["id"], each["verdict"], shortened(files[name]["stage"] for name in each["files"]), _digest(each, files)]
        for each in claims["claims"] if each["files"]
    ]  # fmt: skip
    note = "A verdict's hash is over the names and hashes of its files. claims.json has all of them in full."
    columns = ["claim", "verdict", "stages", "sha256"]
    by_claim = Table("What each verdict rests on", columns, rests, note, classes=VERDICT_CLASSES)
    rows = [[name, file["stage"], file["sha256"][:SHOWN]] for name, file in files.items()]
    return Section("Evidence", parts=[by_claim, Table("Files", ["file", "stage", "sha256"], rows)])


def _digest(claim: Mapping[str, Any], files: Mapping[str, Any]) -> str:
    lines = "".join(f"{name}:{files[name]['sha256']}\n" for name in sorted(claim["files"]))
    return hashlib.sha256(lines.encode()).hexdigest()[:SHOWN]


def shortened(stages: Iterable[str]) -> str:
    """Stages in a shell's braces: train@llf-0, train@llf-1, train@seal-0, train@seal-1 as train@{llf,seal}-{0,1}."""
    seeds: dict[tuple[str, str, str], set[int]] = {}
    for stage in stages:
        match = STAGE.fullmatch(stage)
        if match is None:
            raise ValueError(f"{stage}: not a stage of a run")
        seeds.setdefault((match["kind"], match["target"] or "", match["arm"] or ""), set()).add(int(match["seed"]))
    alike: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
    for (kind, target, arm), numbers in sorted(seeds.items()):
        alike.setdefault((kind, target, tuple(sorted(numbers))), []).append(arm)
    return " ".join(
        f"{kind}@" + "-".join(part for part in (_braces(arms), _braces(numbers), target) if part)
        for (kind, target, numbers), arms in alike.items()
    )


def _braces(values: Sequence[object]) -> str:
    text = ",".join(map(str, values))
    return f"{{{text}}}" if len(values) > 1 else text
