"""What was not run, why, and what it would cost.

By timings that are committed in expected/, and for the paper's scale by counts on GPUs: no clock of this machine has a
say.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from pathlib import Path

from eval.report.cells import NOTHING
from eval.report.document import Table
from eval.report.drawing import label
from eval.report.judged import Claim, Judged
from seal.config import Params, load_params
from seal.evaluations import EVALUATIONS
from seal.planning.costs import work
from seal.planning.gpu import GPUS
from seal.planning.gpu_bills import Prices
from seal.planning.network import network_of_tier
from seal.planning.show import duration
from seal.record import EXPECTED
from seal.runs import RunFolder
from seal.sections import BASE_ARM
from seal.stage_names import TRAINED, asked_stages, parts, stage_of
from seal.tiers import PARAMS
from seal.timings import read_timings

PAPER = "paper"
NOT_RUN = ("NOT-RUN", "SKIPPED-DATA")
MAIN_TRAINING = "train"  # of a main arm, and what the names of other arms' trainings begin with
NOT_YET = "asked for, not reached yet"


@dataclass
class Lack:
    """Claims that lack the same thing, and the stages that would make it."""

    claims: int = 0
    arms: set[str] = field(default_factory=set)  # that no run is of
    stages: dict[str, float] = field(default_factory=dict)  # -> how many times as long as the tier's of its kind


def unrun(records: Sequence[Judged]) -> Table:
    rows = []
    for judged in records:
        for (kind, why), lack in lacks(judged).items():
            rows.append([judged.tier, named(kind, lack), why, str(lack.claims), price(judged.tier, lack)])

    if PAPER not in map(attrgetter("tier"), records):
        rows.append([PAPER, "all of it: 200 classes, ResNet-50, 10 generations", "needs GPUs", "all", paper_price()])
    columns = ["record", "what", "why not", "claims", "what it would cost"]
    note = (
        "Hours: the median of the same tier's stages of that kind in its committed timings (of trainings of the main "
        "arms, where none is of their kind), times their number, and of later generations times how many more there "
        "are. Rows may share stages. What is to be fetched and packed first is not counted, nor that a larger dataset "
        "takes longer. GPUs' hours are counted from operations, not measured, and without fetching and packing."
    )
    return Table("What was not run, why, and what it would cost", columns, rows, note)


def lacks(judged: Judged) -> dict[tuple[str, str], Lack]:
    """What is lacking and why -> the claims that lack it."""
    by_reason: dict[tuple[str, str], Lack] = {}
    for claim in judged.claims:
        if claim["verdict"] in NOT_RUN:
            lack = by_reason.setdefault(reason(judged, claim), Lack())
            lack.claims += 1
            lack.arms |= arms_of(claim).difference(judged.study.runs.arms)
            for stage, times in stages_of(judged, claim):
                lack.stages[stage] = max(times, lack.stages.get(stage, times))
    return by_reason


def reason(judged: Judged, claim: Claim) -> tuple[str, str]:
    """What a claim lacks, in words, and why it was not run."""
    evaluations = ", ".join(claim["needs"])
    if claim["verdict"] == "SKIPPED-DATA":
        return evaluations, claim["reason"]

    params, runs = judged.study.params, judged.study.runs
    absent = arms_of(claim).difference(runs.arms)
    if absent:
        asked = {BASE_ARM, *params.main_arms, *params.extra_arms, *params.sensitivity_arms}
        return "trainings", NOT_YET if absent <= asked else "no arms of this tier"
    if claim["needs"] == ["train"] and any(longer(judged, claim, arm) > 1 for arm in arms_of(claim)):
        return "later generations", f"the tier ends after generation {params.generations.num_generations}"
    if claim["needs"] == ["train"]:
        return "trainings", claim["reason"]
    left_out = "the tier leaves these targets, or some of their shots, out"
    return evaluations, NOT_YET if _is_asked_for(params, claim) else left_out


def _is_asked_for(params: Params, claim: Claim) -> bool:
    """Whether the tier's parameters have the claim's targets and shots in each evaluation that it needs."""
    for evaluation in claim["needs"]:
        section, where = getattr(params, evaluation), claim["where"]
        for key, wanted in (("targets", where["target"]), ("shots", where["shot"])):
            if wanted not in (None, "all") and not {*wanted} <= {*getattr(section, key)}:
                return False
    return True


def named(kind: str, lack: Lack) -> str:
    """With the arms that it is of, or else the targets that its stages are for."""
    targets = dict.fromkeys(parts(stage).dataset for stage in sorted(lack.stages))
    names = [*map(label, sorted(lack.arms))] or [*filter(None, targets)]
    return f"{kind}: {', '.join(names)}" if names else kind


def longer(judged: Judged, claim: Claim, arm: str) -> float:
    """How many times as long as the tier's trainings of the arm one takes that reaches the claim's last generation of
    it. Both are counted from the base's generation 1, which arms with one cosine do not share."""
    trained = judged.study.params.generations.num_generations
    claimed = [int(generation) for name, generation in terms_of(claim) if name == arm and generation]
    return (max([trained, *claimed]) - 1) / max(trained - 1, 1)


def arms_of(claim: Claim) -> set[str]:
    return {arm for arm, _ in terms_of(claim)}


def terms_of(claim: Claim) -> set[tuple[str, str]]:
    """Arm and generation, which may be "", of every comparison: of `seal@3` "seal" and "3"."""
    terms = set()
    for comparison in claim["comparisons"]:
        for term in (comparison["term"], comparison["other"] or comparison["term"]):
            arm, _, generation = term.partition(":")[0].partition("@")
            terms.add((arm, generation))
    return terms


def stages_of(judged: Judged, claim: Claim) -> Iterator[tuple[str, float]]:
    """The stages that the claim still needs, for each seed that the tier asks for of an arm; of an arm that it does not
    know, for each of the study. Beside each how many times as long as the tier's it takes."""
    runs, asked = judged.study.runs, asked_stages(judged.study.params)
    for arm in arms_of(claim):
        times = longer(judged, claim, arm) if claim["needs"] == ["train"] else 1.0
        seeds = [seed for seed in judged.study.seeds if f"{arm}-{seed}" in asked]
        for seed in seeds or judged.study.seeds:
            run, known = f"{arm}-{seed}", runs.get(arm, seed)
            stages = asked.get(run, {})
            if known is None or times > 1:
                yield stages.get(TRAINED) or stage_of(run), times
            for evaluation in {*claim["needs"]} - {"train"}:
                for folder in _folders(judged.study.params, claim, evaluation):
                    if known is None or _lacks(known, claim, folder):
                        yield stages.get(folder) or stage_of(run, folder), 1.0


def _lacks(run: RunFolder, claim: Claim, evaluation: str) -> bool:
    """Whether the run has no such evaluation, or the claim asked for more of it than there is."""
    if not run.evaluation_folders(evaluation):
        return True
    return any(f"{evaluation}:" in comparison["reason"] for comparison in claim["comparisons"])


def _folders(params: Params, claim: Claim, evaluation: str) -> list[str]:
    """Of eval/ those that the claim needs of an evaluation."""
    if not EVALUATIONS[evaluation].targeted:
        return [evaluation]

    wanted = claim["where"]["target"]
    targets = getattr(params, evaluation).targets if wanted == "all" else wanted
    return [f"{evaluation}-{target}" for target in targets]


def price(tier: str, lack: Lack) -> str:
    """By the committed timings of the tier's stages of the same kinds."""
    if not lack.stages:
        return NOTHING

    times_by_name: dict[str, float] = defaultdict(float)
    for stage, times in lack.stages.items():
        times_by_name[parts(stage).name] += times

    seconds = 0.0
    for name, times in times_by_name.items():
        timings = EXPECTED / tier / "timings"
        known = committed_seconds(timings, name)
        if not known and name.startswith(MAIN_TRAINING):
            known = committed_seconds(timings, MAIN_TRAINING)
        if not known:
            return f"{len(lack.stages)} stages; no committed rate"
        seconds += times * statistics.median(known)
    return f"{len(lack.stages)} stages, about {duration(seconds)}"


def committed_seconds(timings: Path, name: str) -> list[float]:
    """Of each stage of that kind its longest, as one that went on from where it was cut off has a shorter row too."""
    longest = []
    for path in sorted(timings.glob(f"{name}*@*.csv")):
        seconds = [float(row["seconds"]) for row in read_timings(path)]
        if seconds and parts(path.stem).name == name:
            longest.append(max(seconds))
    return longest


def paper_price() -> str:
    """Hours of one GPU for every stage of the paper tier, counted from operations."""
    params = load_params(PARAMS / f"{PAPER}.yaml")  # is whole, and is read faster so
    network = network_of_tier(params)
    stages = [*chain.from_iterable(asked.values() for asked in asked_stages(params).values())]
    costs = {stage: work(stage, params, network.size) for stage in stages}
    bill = Prices(costs, params, network).bill(PAPER, stages)

    prices = []
    for gpu, hours in zip(GPUS, bill.hours, strict=True):
        prices.append(f"{hours:.0f} h of one {gpu.name}")
    return f"{len(stages)} trainings and evaluations, {' or '.join(prices)}, counted and not measured"
