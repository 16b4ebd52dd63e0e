"""What a stage costs before it has run: images through the network, sums of products, seconds and bytes of disk.

An image trained - forward, backward, step - is the unit. What an evaluation costs, seal/evaluations.py says.
"""

from seal.config import BASE_ARM, BASE_KEYS, Params, Run
from seal.data.fetch import DOWNLOADS, Places, locate, source_of
from seal.errors import UserError
from seal.evaluations import EVALUATIONS, FORWARD
from seal.measure import NetworkSize, Work
from seal.planning.counts import images_of
from seal.planning.stages import TRAINING, StageParts, parts
from seal.sections import Dataset

PACKED = 3000  # images decoded and resized per second; measured 1,300 to 5,000
DOWNLOADED = 10e6  # bytes per second, an assumption
SMALL = {"fetch": 1.0, "curves": 0.5, "claims": 2.0, "report": 8.0}  # s


def work(stage: str, params: Params, size: NetworkSize) -> Work:
    """Of one stage. One that is of no run and not known here costs its start alone.

    Raises UserError for an evaluation that EVALUATIONS does not have, and for a run or a source that there is not.
    """
    step = parts(stage)
    if step.run is None:
        return _without_a_run(step, params)
    if step.name in TRAINING:
        return training_cost(params.find_run(step.run), params, size)
    if step.name in EVALUATIONS:
        return evaluation_cost(step.name, params.find_run(step.run), step.dataset or params.source, params, size)

    known = ", ".join(EVALUATIONS)
    raise UserError(f"stage {stage}: {step.name} is no evaluation, expected one of {known}")


def training_cost(run: Run, params: Params, size: NetworkSize) -> Work:
    images, generations = images_of(params.source, params), run.generations.num_generations
    new_generations = generations - (1 if _shares_generation_1(run, params.base_of(run.name)) else 0)

    epoch = images.train + FORWARD * images.val
    # Clean images twice at each phase's end; test images by the last and by the best weights.
    end = 2 * FORWARD * (images.train * (1 + ascends(run)) + images.test)
    # Kept weights; in scratch every generation's, and a resume state of weights, momentum and best weights.
    copies = len(kept_generations(run)) + generations + 3
    return Work(
        new_generations * (run.training.epochs_per_generation * epoch + end), bytes=4.0 * size.parameters * copies
    )


def evaluation_cost(name: str, run: Run, dataset: str, params: Params, size: NetworkSize) -> Work:
    evaluation, section = EVALUATIONS[name], getattr(params, name)
    generations = 1
    if evaluation.by_generation and section.generations != "last":
        generations = len(kept_generations(run) & {*section.generations})
    return evaluation.cost(section, images_of(dataset, params), size, generations)


def ascends(run: Run) -> bool:
    """Whether its generations begin by an ascent, so that each has two phases."""
    return run.method.startswith("seal") and run.generations.ascent_epochs > 0


def kept_generations(run: Run) -> set[int]:
    """Whose weights are kept to be evaluated."""
    return {1} if run.arm == BASE_ARM else {*run.generations.kept_generations}


def _shares_generation_1(run: Run, base: Run) -> bool:
    """Whether it goes on from the base stage's, as far as parameters tell; seal/train.py compares rule by rule."""
    return (
        run.arm != BASE_ARM
        and run.generations.first_ascent_generation > 1
        and run.generations.schedule == "per_generation"
        and run.training == base.training
        and all(getattr(run.generations, key) == getattr(base.generations, key) for key in BASE_KEYS)
    )


def _without_a_run(step: StageParts, params: Params) -> Work:
    if step.name == "fetch":
        return _fetch_cost(params.datasets[str(step.dataset)])
    if step.name == "pack":
        dataset = params.datasets[str(step.dataset)]
        count = images_of(str(step.dataset), params).total
        return Work(seconds=count / PACKED, bytes=3.0 * count * dataset.image_size**2)
    return Work(seconds=SMALL.get(step.name, 0.0), bytes=2e6)


def _fetch_cost(dataset: Dataset) -> Work:
    """What has yet to come: by download, or by hand."""
    source = source_of(dataset)
    if source.package is not None or locate(source, dataset, Places.of_environment()) is not None:
        return Work(seconds=SMALL["fetch"])

    lacking_bytes = downloaded_bytes = 0
    for archive in source.archives:
        if not (DOWNLOADS / archive.name).exists():
            lacking_bytes += archive.bytes or 0
            downloaded_bytes += (archive.bytes or 0) if archive.url is not None else 0
    return Work(seconds=SMALL["fetch"] + downloaded_bytes / DOWNLOADED, bytes=float(lacking_bytes))
