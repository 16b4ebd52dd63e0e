"""The report's tables: the paper's own layout, its numbers beside ours, from the record alone."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eval.report.document import Table
from eval.report.figures import label
from seal.evidence import MEND, BrokenEvidence, read_checked_json, read_summary
from seal.record import Row, read_history

NOTHING = "–"


@dataclass(frozen=True)
class RunRecord:
    """A run's folder in results/, or in a committed folder of the same layout."""

    folder: Path
    arm: str
    seed: int

    @cached_property
    def summary(self) -> dict[str, Any]:
        return dict(read_summary(self.folder / "summary.json"))

    @cached_property
    def history(self) -> list[Row]:
        path = self.folder / "history.csv"
        if not path.is_file():
            raise BrokenEvidence(f"{path}: not found, though summary.json beside it records the run; {MEND}")
        return read_history(path)

    def evaluation(self, name: str) -> dict[int, dict[str, Any]]:
        """Generation -> the JSON of an evaluation, e.g. `transfer-digits`; empty where it has not run."""
        found = [read_checked_json(path) for path in sorted((self.folder / "eval" / name).glob("gen-*.json"))]
        return {record["generation"]: record for record in found}

    def skipped(self, name: str) -> str | None:
        path = self.folder / "eval" / name / "skipped.json"
        return str(read_checked_json(path)["status"]) if path.exists() else None


@dataclass(frozen=True)
class Record:
    """The runs that the parameters name and whose folders are there, by arm, in the parameters' order."""

    arms: Mapping[str, Sequence[RunRecord]]

    @classmethod
    def of(cls, folders: Sequence[Path], run_names: Iterable[str]) -> "Record":
        arms: dict[str, list[RunRecord]] = {}
        for name in run_names:
            place = next((folder / name for folder in folders if (folder / name / "summary.json").exists()), None)
            if place is not None:
                arm, _, seed = name.rpartition("-")
                arms.setdefault(arm, []).append(RunRecord(place, arm, int(seed)))
        return cls(arms)

    def runs(self) -> Iterable[RunRecord]:
        return (run for runs in self.arms.values() for run in runs)

    def targets(self, evaluation: str) -> list[str]:
        """Targets of an evaluation that has run or was skipped, in the order in which they are met."""
        names = (path.name for run in self.runs() for path in sorted((run.folder / "eval").glob(f"{evaluation}-*")))
        return list(dict.fromkeys(name.removeprefix(f"{evaluation}-") for name in names))


def percent(values: Sequence[float]) -> str:
    """A mean in percent, with the deviation over seeds where there are several."""
    if not values:
        return NOTHING
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread}"


def with_diverged(ours: str, diverged: int) -> str:
    """Ours, and how many runs have no such number because they diverged."""
    said = f"{diverged} diverged"
    return ours if not diverged else said if ours == NOTHING else f"{ours}, {said}"


def beside(ours: str, paper: float | None) -> str:
    """Ours, and the paper's number in brackets."""
    return ours if paper is None else f"{ours} ({paper:.2f})"


def table_2(record: Record, arms: Sequence[str], paper: Callable[[str, int], float | None]) -> Table:
    """Test accuracy at the end of each generation."""
    generations = sorted({o["generation"] for arm in arms for run in record.arms[arm] for o in run.summary["outcomes"]})

    def cell(arm: str, generation: int) -> str:
        runs = record.arms[arm]
        outcomes = [o for run in runs for o in run.summary["outcomes"] if o["generation"] == generation]
        lost = [run for run in runs if run.summary["diverged"] and run.summary["diverged"]["generation"] <= generation]
        ours = with_diverged(percent([o["test_accuracy"] for o in outcomes]), len(lost))
        return beside(ours, paper(arm, generation) if outcomes or lost else None)

    rows = [[f"Gen={generation}", *(cell(arm, generation) for arm in arms)] for generation in generations]
    seeds = {label(arm): len(record.arms[arm]) for arm in arms}
    counted = f" Seeds: {', '.join(f'{arm} {count}' for arm, count in seeds.items())}."
    return Table(
        "Table 2: test accuracy, %", ["Generation", *seeds], rows,
        note="Last weights of each generation. Generation 1 is the same for all that share it."
        + (counted if len({*seeds.values()}) > 1 else ""),
    )  # fmt: skip


def best_and_last(record: Record) -> Table:
    """The last weights beside those best on the validation images."""
    rows = []
    for arm, runs in record.arms.items():
        finals = [run.summary["final"] for run in runs if run.summary["final"] and not run.summary["diverged"]]
        best = [final["best"]["test_accuracy"] for final in finals if final["best"]]
        clean = [final["clean_accuracy"] for final in finals]
        last = with_diverged(percent([final["test_accuracy"] for final in finals]), len(runs) - len(finals))
        rows.append([label(arm), last, percent(best), percent(clean)])
    columns = ["", "test, last", "test, best by validation", "training images, not augmented"]
    return Table("The last weights, and those best on the validation images; accuracy, %", columns, rows)


def table_1(record: Record, arms: Sequence[str], paper: Callable[[str, str], float | None]) -> Table:
    """Linear probes: the paper's rule, and beside it the rate chosen on validation images."""
    rows = []
    for arm in arms:
        for rule, words in (("paper", "highest test accuracy"), ("validation", "rate by validation")):
            cells = []
            for target in record.targets("transfer"):
                values, status = last_values(record.arms[arm], f"transfer-{target}")
                ours = percent([value[rule]["accuracy"] for value in values]) if values else status
                cells.append(beside(ours, paper(arm, target) if rule == "paper" else None))
            rows.append([label(arm), words, *cells])
    return Table("Table 1: linear probes, accuracy, %", ["", "rule", *record.targets("transfer")], rows)


def tables_4_and_5(record: Record, arms: Sequence[str], paper: Callable[[str, str, str, int], float | None]) -> Table:
    """Few-shot accuracy; the interval is over episodes, for one seed, as the paper writes it."""
    kinds = {"fewshot": "Linear", "fewshot_affines": "Linear+Affines"}
    targets = list(dict.fromkeys(target for kind in kinds for target in record.targets(kind)))
    found = [
        shot
        for run in record.runs() for kind in kinds for target in targets
        for each in run.evaluation(f"{kind}-{target}").values() for shot in each["values"]["shots"]
    ]  # fmt: skip
    rows = []
    for shot in sorted(set(found), key=int):
        for kind, words in kinds.items():
            for arm in arms:
                cells = []
                for target in targets:
                    values, status = last_values(record.arms[arm], f"{kind}-{target}")
                    shots = [value["shots"][shot] for value in values if shot in value["shots"]]
                    cells.append(_few_shot_cell(shots, status, paper(kind, arm, target, int(shot))))
                if any(cell != NOTHING for cell in cells):
                    rows.append([f"{shot}-shot", words, label(arm), *cells])
    note = (
        "Mean over episodes and seeds; ± is 1.96 standard errors over the episodes of the first seed, as in the paper."
    )
    return Table("Tables 4 and 5: five-way few-shot, accuracy, %", ["", "updated", "", *targets], rows, note)


def _few_shot_cell(shots: Sequence[Mapping[str, Any]], status: str, paper: float | None) -> str:
    done = [shot for shot in shots if "accuracy" in shot]
    if not done:
        return "SKIPPED-DATA" if shots else status
    mean = 100 * statistics.mean(shot["accuracy"] for shot in done)
    return beside(f"{mean:.2f} ± {100 * done[0]['interval']:.2f}", paper)


def table_6(record: Record, arms: Sequence[str], paper: Callable[[str, str], float | None]) -> Table:
    """Hessian: largest eigenvalue and share of negative ones, by each solver that was asked for."""
    rows = []
    for solver in ("lanczos", "power"):
        for arm in arms:
            values = [each[solver] for each in last_values(record.arms[arm], "hessian")[0] if solver in each]
            if values:
                largest = statistics.mean(value["max_eigenvalue"] for value in values)
                rows.append([
                    label(arm), solver, beside(f"{largest:.2f}", paper(arm, "max_eigenvalue")),
                    beside(negative_share(values, ".2f"), paper(arm, "negative_percent")), f"{values[0]['batches']}",
                ])  # fmt: skip
    columns = ["", "solver", "largest eigenvalue", "negative, %", "batches"]
    return Table("Table 6: the Hessian's five largest eigenvalues of each batch", columns, rows)


def negative_share(values: Sequence[Mapping[str, Any]], form: str) -> str:
    """Of the eigenvalues, over seeds, in percent. Where none is negative, below what it is at 95%."""
    mean = 100 * statistics.mean(value["negative_fraction"] for value in values)
    if mean:
        return f"{mean:{form}}"
    limit = 1 - 0.05 ** (1 / sum(value["batches"] for value in values))
    return f"0, below {100 * limit:.1f}"


def depth_table(record: Record, arms: Sequence[str]) -> Table:
    """Prediction depth beside the probe of the second block, over which the paper speaks."""
    rows = []
    for arm in arms:
        for generation, records in _by_generation(record.arms[arm], "prediction_depth").items():
            depth = statistics.mean(each["mean_depth"] for each in records)
            second = percent([each["knn_accuracy"][1] for each in records])
            last = percent([each["knn_accuracy"][-1] for each in records])
            rows.append([label(arm), str(generation), f"{depth:.2f}", second, last])
    columns = ["", "generation", "mean depth", "second block, %", "last block, %"]
    return Table("Prediction depth, in blocks, and the probes' accuracy", columns, rows)


def last_values(runs: Sequence[RunRecord], name: str) -> tuple[list[dict[str, Any]], str]:
    """Values of each seed's last evaluated generation, and what stands in a cell where there are none."""
    found = [evaluations[max(evaluations)]["values"] for run in runs if (evaluations := run.evaluation(name))]
    return found, next((status for run in runs if (status := run.skipped(name))), NOTHING)


def _by_generation(runs: Sequence[RunRecord], name: str) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for run in runs:
        for generation, each in run.evaluation(name).items():
            found.setdefault(generation, []).append(each["values"])
    return dict(sorted(found.items()))


def probe_curves(record: Record, arms: Sequence[str]) -> tuple[list[str], dict[str, dict[int, list[list[float]]]]]:
    """Names of the blocks, and arm -> generation -> one curve of probes' accuracy for each seed."""
    curves = {
        arm: {
            generation: [each["knn_accuracy"] for each in records]
            for generation, records in _by_generation(record.arms[arm], "prediction_depth").items()
        }
        for arm in arms
    }
    names = [
        each["blocks"]
        for arm in arms
        for records in _by_generation(record.arms[arm], "prediction_depth").values()
        for each in records
    ]
    return (names[0] if names else []), {arm: each for arm, each in curves.items() if each}
