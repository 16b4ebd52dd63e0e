"""Networks from elsewhere as `seal evaluate` records them: evaluated/NAME/, apart from results/, which claims read.

A folder holds network.json, of the checkpoint, and eval/EVALUATION-DATASET/ as a run's does. Report and MLflow view
read it here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from seal.evaluations import EVALUATIONS, evaluation_and_target
from seal.evidence import BrokenEvidence, Open, as_written, check_facts, read_checked_json
from seal.measure import Measure, cells_of
from seal.readings import EvaluationFile, Missing, reading
from seal.record import OWN, OWN_FACTS
from seal.run_folder import RunFolder


class NetworkFacts(Open):
    """What others read of network.json."""

    model: str
    options: dict[str, Any]
    checkpoint_sha256: str
    size: int | None
    head: str
    mean: list[float]
    std: list[float]


@dataclass(frozen=True)
class OwnNumber:
    """A number of an evaluation, in its measure's unit, as text."""

    dataset: str
    words: str
    text: str


class OwnNetworks(NamedTuple):
    """Those that were evaluated, by name; of those whose record is not what `seal evaluate` writes, why."""

    sound: list[RunFolder]
    broken: dict[str, str]


def own_networks(folder: Path = OWN) -> OwnNetworks:
    networks = OwnNetworks([], {})
    for path in sorted(folder.glob(f"*/{OWN_FACTS}")):
        try:
            network = _read(path)
            list(own_numbers(network))
        except BrokenEvidence as error:
            networks.broken[path.parent.name] = str(error)
        else:
            networks.sound.append(network)
    return networks


def _read(path: Path) -> RunFolder:
    facts = read_checked_json(path)
    check_facts(NetworkFacts, facts, path, "evaluate it again by `seal evaluate`")
    return RunFolder(path.parent, facts)


def own_numbers(network: RunFolder) -> Iterator[OwnNumber]:
    """Each number that the report shows of an evaluation; over blocks the last one's; of one skipped the reason. An
    evaluation that this version does not know is left alone."""
    for folder in network.evaluation_folders():
        evaluation, target = evaluation_and_target(folder.name)
        dataset = target or ""
        if evaluation not in EVALUATIONS:
            continue
        if skipped := network.skipped(folder.name):
            yield OwnNumber(dataset, evaluation, skipped.reason)
            continue

        for file in network.evaluations(folder.name).values():
            for measure in EVALUATIONS[evaluation].measures.values():
                if measure.shown:
                    with as_written(file.path):
                        numbers = [*_numbers_at(file, measure, dataset)]
                    yield from numbers


def _numbers_at(file: EvaluationFile, measure: Measure, dataset: str) -> Iterator[OwnNumber]:
    cells = cells_of(measure, file.keys(measure), dataset)
    for cell in cells[-1:] if measure.over == "block" else cells:
        number = reading(file.path.parent.name, dataset, file, measure, cell, items=False)
        text = number.reason if isinstance(number, Missing) else f"{number.value:.{measure.digits}f}"
        yield OwnNumber(dataset, measure.words.format(target=dataset, shot=cell.shot, block=cell.block), text)
