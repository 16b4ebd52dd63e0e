"""The report: one HTML file and the same as Markdown, from the record. The stage `python -m eval.report`."""

import argparse
import csv
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eval.claims.paper import paper_number
from eval.report import captions, figures
from eval.report.choices import choices
from eval.report.document import Figure, Section, Table, write_document
from eval.report.tables import (
    Record,
    best_and_last,
    depth_table,
    probe_curves,
    table_1,
    table_2,
    table_6,
    tables_4_and_5,
)
from eval.report.verdicts import evidence, verdicts
from seal.config import BASE_ARM, Params, load_params
from seal.errors import UserError, one_line_errors
from seal.evidence import read_checked_json, read_summary
from seal.record import RESULTS, TIMINGS, append_timing
from seal.runs import are_folders
from seal.sections import Generations, Model, Training

REPORT = Path("report")
ABLATIONS = ("seal_freeze", "seal_reinit", "seal_reverse", "seal")
LIBRARIES = ("torch", "torchvision", "faiss-gpu", "hessian-eigenthings", "mlflow", "dvc", "numpy", "scikit-learn")


def write_report(folder: Path, params: Params, record: Record, claims: dict[str, Any], timings: Path) -> Path:
    """Write the report of the runs that were found to `folder`. Gives the HTML file's path."""
    arms = [arm for arm in record.arms if arm in (BASE_ARM, *params.main_arms)]
    seeds = sorted({run.seed for run in record.runs()})
    lead = [
        "A reproduction of “Simulated Annealing in Early Layers Leads to Better Generalization” (Sarfi et al., CVPR "
        f"2023), tier {params.tier}: {params.source}, ResNet-{params.model.depth} of width {params.model.width}, "
        f"{params.generations.num_generations} generations of {params.training.epochs_per_generation} epochs, "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}.",
        "Numbers in brackets are the paper's, from Tiny-ImageNet with ResNet-50. ± is the deviation over seeds unless "
        "a table says otherwise.",
        *(
            ["Smoke is too small to say anything about the paper: it shows that everything works."]
            if params.tier == "smoke"
            else []
        ),
    ]
    sections = [
        verdicts(claims),
        in_distribution(record, arms),
        transfer(record, arms),
        depth(record, arms),
        hessian(record, arms),
        curves(record, arms),
        choices(record, params, ABLATIONS),
        provenance(record),
        evidence(claims),
        compute(timings),
        Section("Versions", parts=[Table("Libraries", ["", "version"], [[name, version(name)] for name in LIBRARIES])]),
    ]
    return write_document(folder, "report", "SEAL, reproduced: which claims hold", lead, sections)


def in_distribution(record: Record, arms: Sequence[str]) -> Section:
    tables = [table_2(record, arms, partial(paper_number, "table_2"))]
    ablations = [arm for arm in ABLATIONS if arm in record.arms]
    if len(ablations) > 1:
        seven = table_2(record, ablations, partial(paper_number, "table_7"))
        tables.append(Table("Table 7: what happens in the forgetting phase; accuracy, %", seven.columns, seven.rows))
    return Section("In-distribution accuracy", parts=[*tables, best_and_last(record)])


def transfer(record: Record, arms: Sequence[str]) -> Section:
    tables = []
    if record.targets("transfer"):
        tables.append(table_1(record, arms, partial(paper_number, "table_1")))
    if record.targets("fewshot") or record.targets("fewshot_affines"):
        tables.append(tables_4_and_5(record, arms, partial(paper_number, "few_shot")))
    return Section("Transfer and few-shot", parts=tables, text=[] if tables else ["Not run."])


def depth(record: Record, arms: Sequence[str]) -> Section:
    blocks, by_generation = probe_curves(record, arms)
    if not blocks:
        return Section("Prediction depth", text=["Not run."])
    last = {arm: generations[max(generations)] for arm, generations in by_generation.items()}
    order = sorted({generation for generations in by_generation.values() for generation in generations})
    parts: list[Table | Figure] = [
        Figure(
            "figure-2",
            "Figure 2: accuracy of five nearest training images' vote on the test images, by each block's output, at "
            f"the end of training.{captions.probe_accuracy(blocks, last)}",
            figures.probe_accuracy(blocks, last), "kNN probe accuracy by block, a line for each arm",
        )
    ]  # fmt: skip
    if len(order) > 1:
        seen = captions.probe_accuracy_by_generation(blocks, by_generation)
        caption = f"Figure 3: the same by generation; later generations are darker.{seen}"
        svg = figures.probe_accuracy_by_generation(blocks, by_generation, order)
        parts.append(Figure("figure-3", caption, svg, "kNN probe accuracy by block and generation, a panel an arm"))
    return Section("Prediction depth", parts=[*parts, depth_table(record, arms)])


def hessian(record: Record, arms: Sequence[str]) -> Section:
    table = table_6(record, arms, partial(paper_number, "table_6"))
    return Section("Hessian", parts=[table]) if table.rows else Section("Hessian", text=["Not run."])


def curves(record: Record, arms: Sequence[str]) -> Section:
    histories = {arm: [run.history for run in record.arms[arm]] for arm in arms}
    first = {arm: seeds[0] for arm, seeds in histories.items()}
    seed = next(iter(record.runs())).seed
    text = "ascent phases shaded, a line where a generation begins"
    parts = [
        Figure("training", f"Training accuracy, running, of seed {seed}; {text}.{captions.training(histories)}",
               figures.training_curves(first, "train_accuracy", "training accuracy"), "training accuracy by epoch")
    ]  # fmt: skip
    if any(row["val_accuracy"] is not None for rows in first.values() for row in rows):
        svg = figures.training_curves(first, "val_accuracy", "validation accuracy")
        caption = f"Validation accuracy of seed {seed}; {text}.{captions.validation(histories)}"
        parts.append(Figure("validation", caption, svg, "validation by epoch"))
    return Section("Training", parts=parts)


def provenance(record: Record) -> Section:
    rows: dict[str, list[str]] = {}
    for run in record.runs():
        summary = run.summary
        archives = ", ".join(
            f"{archive['name']}{'' if archive['official'] else ' (not the official checksum)'}"
            for archive in summary["provenance"].get("archives", [])
        )
        licence = str(summary["provenance"].get("licence", "not recorded"))
        rows[summary["data"]] = [summary["data"], archives, licence, summary["data_sha256"][:16]]
    table = Table(
        "Images that the networks were trained on", ["pack", "archives", "licence", "sha256"], [*rows.values()]
    )
    return Section("Data", parts=[table])


def compute(timings: Path) -> Section:
    """The last row of each stage's timings; none of it is part of the record."""
    rows = []
    for path in sorted(timings.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            last = list(csv.DictReader(file))[-1]
        rate = f"{float(last['rate']):,.0f} {last['unit']}/s" if last["rate"] else ""
        cpu = f"{last['cpu']}, {last['threads']} threads"
        rows.append([last["stage"], f"{float(last['seconds']):.0f}", rate, last["peak_mb"], last["backend"], cpu])
    columns = ["stage", "seconds", "rate", "peak MB", "backend", "machine"]
    return Section("Compute", parts=[Table("Time and memory of each stage", columns, rows)] if rows else [],
                   text=[] if rows else ["Not recorded."])  # fmt: skip


def parameters_of(folders: Sequence[Path]) -> tuple[Params, list[str]]:
    """The parameters of the tier of the runs in these folders, with the values that the runs were made by; and every
    run's name, in the order of the tables. Raises ConfigError for an arm that the tier does not know."""
    params = load_params()
    summaries = [read_summary(path) for folder in folders for path in sorted(folder.glob("*/summary.json"))]
    if summaries and summaries[0]["tier"] != params.tier:
        params = load_params(f"params/{summaries[0]['tier']}.yaml")
    made = next((each for each in summaries if each["arm"] == each["method"]), None)
    if made:  # an arm that changes nothing of its method
        sections = (("model", Model), ("training", Training), ("generations", Generations))
        params = params.model_copy(update={name: kind.model_validate(made[name]) for name, kind in sections})
    runs = {each["run"]: params.find_run(each["run"]) for each in summaries}
    arms = [BASE_ARM, *params.main_arms, *params.extra_arms, *params.sensitivity_arms, *params.arms]
    return params, sorted(runs, key=lambda name: (arms.index(runs[name].arm), runs[name].seed))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m eval.report")
    parser.add_argument("--record", type=Path, nargs="+", metavar="DIR", help="folders of runs, instead of results/")
    parser.add_argument("--claims", type=Path, default=Path("claims/claims.json"), metavar="FILE")
    parser.add_argument("--out", type=Path, default=REPORT, metavar="DIR")
    chosen = parser.parse_args(arguments)
    began = time.perf_counter()
    with one_line_errors():
        folders = chosen.record or [RESULTS]
        if chosen.record:
            are_folders(chosen.record)
            params, names = parameters_of(folders)
        else:
            params = load_params()
            names = params.run_names()
        record = Record.of(folders, names)
        if not record.arms:
            places = ", ".join(map(str, folders))
            raise UserError(f"{places}: no run of the {params.tier} tier's parameters; `make repro` trains them")
        if not chosen.claims.exists():
            raise UserError(f"{chosen.claims}: no such file; `dvc repro claims` writes it")
        timings = next((path for folder in folders if (path := folder / "timings").is_dir()), TIMINGS)
        page = write_report(chosen.out, params, record, read_checked_json(chosen.claims), timings)
        if not chosen.record:
            append_timing("report", time.perf_counter() - began)
        print(f"report: {page}")


if __name__ == "__main__":
    main()
