"""The claims by groups, a fold for each and each record: what is seen, the paper's table with ours, a figure, and then
every verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from operator import attrgetter, itemgetter

from eval.claims.paper import paper_number
from eval.report import captions, figures
from eval.report.accuracy import accuracy_figure, best_and_last, table_2
from eval.report.choices import sensitivity
from eval.report.curves import ByGeneration, probe_blocks, probe_curves
from eval.report.differences import differences_figure
from eval.report.document import Figure, Section, Table, as_csv, not_empty
from eval.report.judged import Claim, Judged, areas
from eval.report.marks import counted, leading
from eval.report.tables import depth_table, few_shot_targets, table_1, table_6, tables_4_and_5
from eval.report.verdicts import deciding, refuted_in_paper_too, verdicts
from seal.record import ROUNDING

ABLATIONS = ("seal_freeze", "seal_reinit", "seal_reverse", "seal")
PHASES = "ascent phases shaded, a line where a generation begins"
NAMED = 3  # claims that a sentence names
Parts = list[Table | Figure]


def groups(records: Sequence[Judged]) -> list[Section]:
    """A fold for each group; of several records one for each within it."""
    sections = []
    for area, title in areas().items():
        folds = [group(judged, area) for judged in records]
        if len(folds) == 1:
            sections.append(replace(folds[0], title=f"{area} {title}"))
        else:
            chips = [*chain.from_iterable(map(attrgetter("chips"), folds))]
            sections.append(Section(f"{area} {title}", area, chips=chips, sections=folds))
    return sections


def group(judged: Judged, area: str) -> Section:
    claims = judged.claims_of(area)
    shown = not_empty(EVIDENCE.get(area, nothing)(judged))
    leads = leading(map(itemgetter("verdict"), claims))
    return Section(
        judged.tier,
        judged.anchor(area),
        text=[seen(claims)],
        parts=[*shown, verdicts(judged, area)],
        chips=[(judged.tier, leads)],
    )


def seen(claims: Sequence[Claim]) -> str:
    """One sentence: how many claims have which verdict, how many differences the claimed sign, and what is decided."""
    known = [*filter(None, map(deciding, claims))]
    positive = sum(worst["mean"] > ROUNDING for worst in known)
    sentence = f"Of {len(claims)} claims: {counted(map(itemgetter('verdict'), claims))}"
    if known:
        sentence += f"; {positive} of {len(known)} measured differences have the claimed sign"

    for verdict, words in {"SUPPORTED": "what holds", "REFUTED": "what does not"}.items():
        says = []
        for claim in claims:
            if claim["verdict"] == verdict:
                says.append(f"“{claim['says'].rstrip('.')}”")
        if says:
            more = f", and {len(says) - NAMED} more" if len(says) > NAMED else ""
            sentence += f"; {words} here: {', '.join(says[:NAMED])}{more}"
    return " ".join([f"{sentence}.", *refuted_in_paper_too(claims)])


def the_method(judged: Judged) -> Parts:
    return [sensitivity(judged.study, ABLATIONS), *curves_of_training(judged)]


def in_distribution(judged: Judged) -> Parts:
    runs, arms = judged.study.runs, judged.study.main_arms
    return [table_2(runs, arms, partial(paper_number, "table_2")), best_and_last(runs)]  # its figure leads the page


def transfer(judged: Judged) -> Parts:
    table = table_1(judged.study.runs, judged.study.main_arms, partial(paper_number, "table_1"))
    return [table, *differences_figure(judged, "C3")] if judged.study.runs.targets("transfer") else []


def few_shot(judged: Judged) -> Parts:
    runs = judged.study.runs
    if not few_shot_targets(runs):
        return []
    tables = tables_4_and_5(runs, judged.study.main_arms, partial(paper_number, "few_shot"))
    return [*tables, *differences_figure(judged, "C4")]


def depth(judged: Judged) -> Parts:
    runs, arms = judged.study.runs, judged.study.main_arms
    blocks = probe_blocks(runs)
    curves = probe_curves(runs, arms, blocks)
    if not curves:
        return []

    pictures = [figure_2(judged.tier, blocks, curves)]
    generations = sorted({*chain(*curves.values())})
    if len(generations) > 1:
        pictures.append(figure_3(judged.tier, blocks, curves, generations))
    return [depth_table(runs, arms), *pictures]


def figure_2(tier: str, blocks: Sequence[str], curves: Mapping[str, ByGeneration]) -> Figure:
    last, at_the_end = {}, {}
    for arm, by_generation in curves.items():
        generation = max(by_generation)
        last[arm] = by_generation[generation]
        at_the_end[arm] = {generation: last[arm]}

    told = captions.probe_accuracy(blocks, last)
    caption = (
        "Figure 2: accuracy of five nearest training images' vote on the test images, by each block's output, at "
        f"the end of training; bands: the lowest to the highest seed.{told}"
    )
    name = f"{tier}-figure-2"
    svg = figures.probe_accuracy(blocks, last, name)
    alt = "kNN probe accuracy by block, a line a method; the caption says who leads where."
    return Figure(name, caption, svg, alt, _probes(blocks, at_the_end))


def figure_3(
    tier: str, blocks: Sequence[str], curves: Mapping[str, ByGeneration], generations: Sequence[int]
) -> Figure:
    told = captions.probe_accuracy_by_generation(blocks, curves)
    name = f"{tier}-figure-3"
    svg = figures.probe_accuracy_by_generation(blocks, curves, generations, name)
    caption = f"Figure 3: the same by generation; the later, the stronger the line.{told}"
    alt = "kNN probe accuracy by block and generation, a panel a method; the caption has the changes."
    return Figure(name, caption, svg, alt, _probes(blocks, curves))


def _probes(blocks: Sequence[str], curves: Mapping[str, ByGeneration]) -> str:
    rows = []
    for arm, by_generation in curves.items():
        for generation, seeds in by_generation.items():
            for place, curve in enumerate(seeds):
                rows += [[arm, generation, place, *point] for point in zip(blocks, curve, strict=True)]
    return as_csv(["arm", "generation", "curve", "block", "accuracy"], rows)


def hessian(judged: Judged) -> Parts:
    table = table_6(judged.study.runs, judged.study.main_arms, partial(paper_number, "table_6"))
    return [table, *differences_figure(judged, "C6")]


def late_layers(judged: Judged) -> Parts:
    runs = judged.study.runs
    arms = [arm for arm in ABLATIONS if arm in runs.arms]
    if len(arms) < 2:
        return []

    table = table_2(runs, arms, partial(paper_number, "table_7"))
    caption = "Test accuracy at each generation's end: lines are means, dots are seeds."
    figure = accuracy_figure(f"{judged.tier}-table-7", runs, arms, "table_7", caption)
    title = "Table 7: what late layers do in the forgetting phase; accuracy, %"
    return [Table(title, table.columns, table.rows, table.note), figure]


def curves_of_training(judged: Judged) -> list[Figure]:
    """Each arm's first seed; the caption's numbers are of all seeds that did not diverge. None without a main arm."""
    runs = judged.study.runs
    if not judged.study.main_arms:
        return []

    first, histories, seeds, rows = {}, {}, {}, []
    for arm in judged.study.main_arms:
        if ended := [run.history for run in runs.of(arm) if run.diverged_in is None]:
            histories[arm] = ended
        first[arm], seeds[arm] = runs.of(arm)[0].history, runs.of(arm)[0].seed
        for row in first[arm]:
            rows.append([arm, row["global_epoch"] + 1, row["phase"], row["train_accuracy"]])

    name, told = f"{judged.tier}-training", captions.training(histories)
    svg = figures.training_curves(first, name)
    caption = f"Training accuracy, running, of {captions.seeds_shown(seeds)}; {PHASES}.{told}"
    alt = "Training accuracy by epoch, a panel a method; the caption says where ascents and training end."
    return [Figure(name, caption, svg, alt, as_csv(["arm", "epoch", "phase", "train_accuracy"], rows))]


def nothing(judged: Judged) -> Parts:
    return []


EVIDENCE: dict[str, Callable[[Judged], Parts]] = {
    "C1": the_method, "C2": in_distribution, "C3": transfer, "C4": few_shot, "C5": depth, "C6": hessian,
    "C7": late_layers,
}  # fmt: skip
