"""The report's page: which sections it has, in which order, and what each is made of."""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

from eval.claims.paper import paper_number
from eval.report import captions, figures
from eval.report.accuracy import best_and_last, table_2
from eval.report.choices import choices
from eval.report.curves import ByGeneration, probe_blocks, probe_curves
from eval.report.document import Figure, Section, Table, write_document
from eval.report.evidence import evidence
from eval.report.overview import overview
from eval.report.provenance import compute, provenance
from eval.report.relearning import relearning
from eval.report.settings import Study
from eval.report.tables import depth_table, few_shot_targets, table_1, table_6, tables_4_and_5
from eval.report.verdicts import verdicts
from seal.runs import Runs

ABLATIONS = ("seal_freeze", "seal_reinit", "seal_reverse", "seal")
LIBRARIES = ("torch", "torchvision", "faiss-gpu", "hessian-eigenthings", "mlflow", "dvc", "numpy", "scikit-learn")
PHASES = "ascent phases shaded, a line where a generation begins"


def write_report(folder: Path, study: Study, claims: Mapping[str, Any], timings: Path | None) -> Path:
    """Write the report of a study's runs and of their verdicts to `folder`. Gives the HTML file's path.

    `timings`: of a record that keeps its own. Without, nothing that depends on the machine is in it.
    """
    runs, arms = study.runs, study.main_arms
    sections = [
        verdicts(claims),
        in_distribution(runs, arms),
        evaluations(runs, arms),
        transfer(runs, arms),
        depth(runs, arms),
        hessian(runs, arms),
        relearning(study),
        training(runs, arms),
        choices(study, ABLATIONS),
        provenance(runs),
        evidence(claims),
        *([compute(timings), versions()] if timings is not None else []),
    ]

    there = [*filter(None, sections)]
    return write_document(folder, "report", "SEAL, reproduced: which claims hold", lead(study), there)


def write_times(folder: Path) -> Path:
    """Write what this machine took to `folder`, whose timings it is made of: a page of its own, as no other machine's
    could equal it."""
    lead = ["What each stage took on this machine, the last time that it ran here."]
    return write_document(folder, "times", "SEAL, reproduced: time and versions", lead, [compute(folder), versions()])


def lead(study: Study) -> list[str]:
    """What the reader has to know before the first number."""
    seeds = f"seed{'s' if len(study.seeds) > 1 else ''} {', '.join(map(str, study.seeds))}"
    network = f"ResNet-{study.value('model', 'depth')} of width {study.value('model', 'width')}"
    generations = study.value("generations", "num_generations")
    epochs = study.value("training", "epochs_per_generation")
    paragraphs = [
        "A reproduction of “Simulated Annealing in Early Layers Leads to Better Generalization” (Sarfi et al., CVPR "
        f"2023), tier {study.params.tier}: {study.params.source}, {network}, {generations} generations of {epochs} "
        f"epochs, {seeds}.",
        "Numbers in brackets are the paper's, from Tiny-ImageNet with ResNet-50. ± is the deviation over seeds unless "
        "a table says otherwise.",
    ]

    paragraphs += [f"BROKEN, and no evidence here: {reason}" for reason in study.runs.broken.values()]
    if study.params.tier == "smoke":
        paragraphs.append("Smoke is too small to say anything about the paper: it shows that everything works.")
    return paragraphs


def in_distribution(runs: Runs, arms: Sequence[str]) -> Section:
    tables = [table_2(runs, arms, partial(paper_number, "table_2"))]
    ablations = [arm for arm in ABLATIONS if arm in runs.arms]
    if len(ablations) > 1:
        table_7 = table_2(runs, ablations, partial(paper_number, "table_7"))
        caption = "Table 7: what happens in the forgetting phase; accuracy, %"
        tables.append(Table(caption, table_7.columns, table_7.rows))
    return Section("In-distribution accuracy", parts=[*tables, best_and_last(runs)])


def evaluations(runs: Runs, arms: Sequence[str]) -> Section:
    return _of_tables("Evaluations", [overview(runs, arms)])


def transfer(runs: Runs, arms: Sequence[str]) -> Section:
    tables = []
    if runs.targets("transfer"):
        tables.append(table_1(runs, arms, partial(paper_number, "table_1")))
    if few_shot_targets(runs):
        tables.append(tables_4_and_5(runs, arms, partial(paper_number, "few_shot")))
    return _of_tables("Transfer and few-shot", tables)


def depth(runs: Runs, arms: Sequence[str]) -> Section:
    blocks = probe_blocks(runs)
    curves = probe_curves(runs, arms, blocks)
    if not curves:
        return Section("Prediction depth", text=["Not run."])

    pictures = [figure_2(blocks, curves)]
    generations = sorted({*chain(*curves.values())})
    if len(generations) > 1:
        pictures.append(figure_3(blocks, curves, generations))
    return Section("Prediction depth", parts=[*pictures, depth_table(runs, arms)])


def figure_2(blocks: Sequence[str], curves: Mapping[str, ByGeneration]) -> Figure:
    last = {arm: by_generation[max(by_generation)] for arm, by_generation in curves.items()}
    caption = (
        "Figure 2: accuracy of five nearest training images' vote on the test images, by each block's output, at "
        f"the end of training.{captions.probe_accuracy(blocks, last)}"
    )
    svg = figures.probe_accuracy(blocks, last)
    return Figure("figure-2", caption, svg, "kNN probe accuracy by block, a line for each arm")


def figure_3(blocks: Sequence[str], curves: Mapping[str, ByGeneration], generations: Sequence[int]) -> Figure:
    changes = captions.probe_accuracy_by_generation(blocks, curves)
    caption = f"Figure 3: the same by generation; later generations are darker.{changes}"
    svg = figures.probe_accuracy_by_generation(blocks, curves, generations)
    return Figure("figure-3", caption, svg, "kNN probe accuracy by block and generation, a panel an arm")


def hessian(runs: Runs, arms: Sequence[str]) -> Section:
    return _of_tables("Hessian", [table_6(runs, arms, partial(paper_number, "table_6"))])


def training(runs: Runs, arms: Sequence[str]) -> Section:
    """The curves of each arm's first seed; the captions' numbers are of all seeds."""
    first, histories = {}, {}
    for arm in arms:
        histories[arm] = [run.history for run in runs.of(arm)]
        first[arm] = histories[arm][0]
    seed = next(iter(runs)).seed

    caption = f"Training accuracy, running, of seed {seed}; {PHASES}.{captions.training(histories)}"
    svg = figures.training_curves(first, "train_accuracy", "training accuracy")
    parts = [Figure("training", caption, svg, "training accuracy by epoch")]

    if any(row["val_accuracy"] is not None for row in chain(*first.values())):
        caption = f"Validation accuracy of seed {seed}; {PHASES}.{captions.validation(histories)}"
        svg = figures.training_curves(first, "val_accuracy", "validation accuracy")
        parts.append(Figure("validation", caption, svg, "validation by epoch"))
    return Section("Training", parts=parts)


def versions() -> Section:
    rows = [*zip(LIBRARIES, map(version, LIBRARIES), strict=True)]
    return Section("Versions", parts=[Table("Libraries", ["", "version"], rows)])


def _of_tables(title: str, tables: Sequence[Table]) -> Section:
    """Tables with rows, or the words that there is nothing."""
    parts = [*filter(attrgetter("rows"), tables)]
    return Section(title, parts=parts, text=[] if parts else ["Not run."])
