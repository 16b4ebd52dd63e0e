"""A study's record in three tables of Markdown for artifact.md: accuracy, evaluations, verdicts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from eval.report.accuracy import table_2
from eval.report.overview import overview
from eval.report.settings import recorded_study
from eval.report.verdicts import smallest_difference
from eval.report.writing import markdown
from seal.record import read_json
from seal.runs import Runs

BESIDE_PRIMARY = ("test_accuracy", "mean_depth")  # measures whose claims are shown too


def study_tables(folder: Path) -> dict[str, str]:
    """Of a folder with runs and their claims.json; the main arms, in all of their seeds."""
    study = recorded_study([folder])
    evaluations = overview(study.runs, study.main_arms)
    return {
        "accuracy": accuracy_table(study.runs, study.main_arms),
        "evaluations": markdown(evaluations.columns, evaluations.rows),
        "verdicts": verdicts_table(read_json(folder / "claims.json")["claims"]),
    }


def accuracy_table(runs: Runs, arms: Sequence[str]) -> str:
    """Test accuracy at the end of each generation, a method a row."""
    table = table_2(runs, arms, lambda arm, generation: None)
    return markdown(table.columns, table.rows)


def verdicts_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """The verdicts on primary outcomes and on families of cells, then how many claims have which."""
    rows = []
    for claim in claims:
        shown = claim["primary"] or claim["test"] == "family" or claim["measure"] in BESIDE_PRIMARY
        difference = smallest_difference(claim)
        if shown and difference:
            rows.append([f"`{claim['id']}`{' *' if claim['primary'] else ''}", claim["verdict"], *difference])

    table = markdown(["claim", "verdict", "difference", "seeds", "80%"], rows)
    counts = Counter(map(itemgetter("verdict"), claims)).most_common()
    numbers = ", ".join(f"{verdict} {count}" for verdict, count in counts)
    return f"{table}\n\nOf all {len(claims)}: {numbers}."
