"""A study's record in three tables of Markdown: accuracy, evaluations, verdicts."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.report.__main__ import parameters_of
from eval.report.figures import label
from eval.report.tables import Record, last_values, negative_share, table_2
from eval.report.verdicts import smallest_difference
from seal.config import BASE_ARM
from seal.record import read_json


def study_tables(folder: Path) -> dict[str, str]:
    """Of a folder with runs and their claims.json; the arms that are evaluated, in all of their seeds."""
    params, names = parameters_of([folder])
    record = Record.of([folder], names)
    arms = [arm for arm in (BASE_ARM, *params.main_arms) if arm in record.arms]
    claims = read_json(folder / "claims.json")["claims"]
    return {
        "accuracy": accuracy_table(record, arms),
        "evaluations": evaluations_table(record, arms),
        "verdicts": verdicts_table(claims),
    }


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


def accuracy_table(record: Record, arms: Sequence[str]) -> str:
    """Test accuracy at the end of each generation, an arm a column."""
    table = table_2(record, arms, lambda arm, generation: None)
    return markdown(["generation", *table.columns[1:]], [[row[0].removeprefix("Gen="), *row[1:]] for row in table.rows])


def evaluations_table(record: Record, arms: Sequence[str]) -> str:
    """One number of each evaluation of the last generation, an arm a column."""

    def row(words: str, evaluation: str, read: Callable[[Mapping[str, Any]], float], form: str) -> list[str]:
        cells = []
        for arm in arms:
            values = [read(each) for each in last_values(record.arms[arm], evaluation)[0]]
            spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):{form}}{spread}" if values else "–")
        return [words, *cells]

    rows = [
        row(f"linear probe, {target}, %", f"transfer-{target}", lambda each: 100 * each["paper"]["accuracy"], ".1f")
        for target in record.targets("transfer")
    ]
    rows += [
        row(
            f"5-shot, {words}, {target}, %",
            f"{kind}-{target}",
            lambda each: 100 * each["shots"]["5"]["accuracy"],
            ".1f",
        )
        for kind, words in (("fewshot", "linear"), ("fewshot_affines", "with affines"))
        for target in record.targets(kind)
    ]
    rows += [
        row("mean prediction depth, of 8 blocks", "prediction_depth", lambda each: each["mean_depth"], ".2f"),
        row("kNN probe at the second block, %", "prediction_depth", lambda each: 100 * each["knn_accuracy"][1], ".1f"),
        row("kNN probe at the last block, %", "prediction_depth", lambda each: 100 * each["knn_accuracy"][-1], ".1f"),
        row("largest Hessian eigenvalue", "hessian", lambda each: each["lanczos"]["max_eigenvalue"], ".0f"),
    ]
    found = {arm: [each["lanczos"] for each in last_values(record.arms[arm], "hessian")[0]] for arm in arms}
    shares = [negative_share(values, ".1f") if values else "–" for values in found.values()]
    rows.append(["negative of the five largest, %", *shares])
    return markdown(["", *map(label, arms)], rows)


def verdicts_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """The verdicts on primary outcomes and on families of cells, then how many claims have which."""
    rows = [
        [f"`{claim['id']}`{' *' if claim['primary'] else ''}", claim["verdict"], *measured]
        for claim in claims
        if (claim["primary"] or claim["test"] == "family" or claim["measure"] in ("test_accuracy", "mean_depth"))
        and (measured := smallest_difference(claim))
    ]
    counts = Counter(claim["verdict"] for claim in claims)
    said = ", ".join(f"{verdict} {count}" for verdict, count in counts.most_common())
    return f"{markdown(['claim', 'verdict', 'difference', 'seeds', '80%'], rows)}\n\nOf all {len(claims)}: {said}."
