"""The report's page: what stands on it, and in which order. A reader has a minute, then ten, then more."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, get_args

from eval.report.accuracy import accuracy_figure
from eval.report.choices import open_choices
from eval.report.document import Chapter, Figure, Page, Section, Table, not_empty
from eval.report.evidence import evidence
from eval.report.findings import no_overfitting, told
from eval.report.groups import groups
from eval.report.judged import Judged
from eval.report.matrix import matrix
from eval.report.overview import overview
from eval.report.own import own_chapter
from eval.report.paper_against_itself import contradictions
from eval.report.provenance import provenance
from eval.report.relearning import relearning
from eval.report.renewal import renewal_figure
from eval.report.settings import NOT_RECORDED, Study
from eval.report.unrun import unrun
from eval.report.verdicts import NOTE
from eval.report.writing import write_page
from seal.own_records import OwnNetworks
from seal.record import Tier
from seal.tiers import tier_params

TITLE = "SEAL, reproduced: which claims hold"
TIERS = get_args(Tier)  # the last one given leads
PAPER_S = 0.01  # section 3
NONE = OwnNetworks([], {})


def write_report(
    folder: Path, records: Sequence[Judged], own: OwnNetworks = NONE, beside: Sequence[Study] = ()
) -> Path:
    """Write the report of records of different tiers to `folder`. Gives the HTML file's path."""
    ordered = sorted(records, key=lambda judged: TIERS.index(judged.tier))
    return write_page(folder, page_of(ordered, own, beside))


def page_of(records: Sequence[Judged], own: OwnNetworks = NONE, beside: Sequence[Study] = ()) -> Page:
    leads = records[-1]
    chapters = [
        Chapter("Claims, group by group", "groups", [NOTE], sections=groups(records[::-1])),
        others_compared(records),
        *own_chapter(own),
        Chapter("What was not run", "not-run", table=unrun(records[::-1])),
        Chapter("Behind it", "behind", sections=[*map(behind, records[::-1]), about_the_paper(leads)]),
    ]

    return Page(
        title=TITLE,
        lead=lead(leads),
        told=told(leads),
        figures=[key_figure(leads), *renewal_figure(leads.study, beside)],
        others=[*map(in_short, records[-2::-1])],
        matrix=matrix(records),
        chapters=chapters,
    )


def lead(judged: Judged) -> list[str]:
    """What the reader has to know before the first number."""
    study = judged.study
    seeds = f"seed{'s' if len(study.seeds) > 1 else ''} {', '.join(map(str, study.seeds))}"

    network = str(study.value("model", "network"))
    if network == NOT_RECORDED:  # no other's by name
        network = f"ResNet-{study.value('model', 'depth')} of width {study.value('model', 'width')}"

    generations = study.value("generations", "num_generations")
    epochs = study.value("training", "epochs_per_generation")
    decay, usual = study.value("training", "weight_decay"), tier_params(judged.tier).training.weight_decay
    of_a_sweep = "" if decay in (usual, NOT_RECORDED) else f", with weight decay {decay:g} instead of {usual:g}"
    text = (
        "“Simulated Annealing in Early Layers Leads to Better Generalization” (Sarfi et al., CVPR 2023), at the tier "
        f"{judged.tier}{of_a_sweep}: {study.params.source}, {network}, {generations} generations of {epochs} epochs, "
        f"{ascent_words(study)}{seeds}. "
        "Numbers in parentheses in tables are the paper's; ± is the deviation over seeds unless a table says "
        "otherwise; the primary claims share 5% by Holm's rule, so an interval of theirs may be wider than 95%."
    )
    smoke = "Smoke is too small to say anything about the paper: it shows that everything works."
    broken = [f"BROKEN, and no evidence here: {reason}" for reason in study.runs.broken.values()]
    return [text, *broken, *([smoke] if judged.tier == "smoke" else no_overfitting(judged))]


def ascent_words(study: Study) -> str:
    """How fast SEAL's early layers climb, and the paper's; "" where the record has no such arm."""
    scale = study.value("arms", "seal", "ascent_lr_scale")
    return "" if scale == NOT_RECORDED else f"ascent at {scale:g} of the learning rate (the paper's: {PAPER_S:g}), "


def key_figure(judged: Judged) -> Figure:
    caption = "Test accuracy at each generation's end: lines are means, dots are seeds."
    name = f"{judged.tier}-accuracy"
    return accuracy_figure(name, judged.study.runs, judged.study.main_arms, "table_2", caption)


def in_short(judged: Judged) -> Section:
    """The primary sentences and the key figure of a record that does not lead."""
    sentences = [f"{primary.subject}: {primary.verdict}. {primary.text}" for primary in told(judged)]
    text = [*lead(judged), *sentences]
    return Section(f"The same at {judged.tier}", judged.anchor("in-short"), text=text, parts=[key_figure(judged)])


def others_compared(records: Sequence[Judged]) -> Chapter:
    """The other methods, without a verdict; what to run where no record has them."""
    sections = [*filter(None, map(relearning, records[::-1]))]
    text = "Comparisons of this project, without a verdict: no claim of the paper rests on them."
    if not sections:
        text += " None of these records has them: they are the arms from ke_wels on in params/paper.yaml."
    return Chapter("Forget-and-relearn at one budget", "relearning", [text], sections)


def behind(judged: Judged) -> Section:
    """What a record's verdicts go by, and what it was made of."""
    parts = [
        conditions(judged.document),
        overview(judged.study.runs, judged.study.main_arms),
        open_choices(judged.study),
        provenance(judged.study.runs),
        evidence(judged.document),
    ]
    title = f"Conditions, evaluations, open choices, images and evidence, {judged.tier}"
    return Section(title, judged.anchor("behind"), parts=not_empty(parts))


def conditions(document: Mapping[str, Any]) -> Table:
    rows = []
    for name, condition in document["conditions"].items():
        rows.append([name, condition["says"]])
        if "first_stated" in condition:
            rows.append([f"{name} as first stated", condition["first_stated"]])
    return Table("Conditions, without which a claim is not comparable", ["condition", "what has to hold"], rows)


def about_the_paper(judged: Judged) -> Section:
    """What holds whatever is run: the paper's numbers against its text, and what cannot be tested."""
    untestable = [*map(itemgetter("says", "place", "why"), judged.document["untestable"])]
    parts = [
        contradictions(judged.claims),
        Table("Claims that cannot be tested", ["claim", "place", "why"], untestable),
    ]
    return Section("The paper against itself, and what cannot be tested", "about-the-paper", parts=parts)
