"""What a stage costs before it has run: images through the network, sums of products, seconds and bytes of disk.

Training costs what the run's clock says; what an evaluation costs, seal/evaluations.py says.
"""

from seal.clock import Clock, course_of
from seal.config import Params
from seal.data.places import DOWNLOADS, Places, locate, source_of
from seal.errors import UserError
from seal.evaluations import EVALUATIONS
from seal.measure import NetworkSize, Work
from seal.methods import method_of
from seal.phases import Phases, may_share_generation_1
from seal.planning.counts import images_of
from seal.sections import BASE_ARM, TRAINING, Dataset, Run
from seal.stage_names import StageParts, parts

PACKED = 3000  # images decoded and resized per second; measured 1,300 to 5,000
DOWNLOADED = 10e6  # bytes per second, an assumption
STATE_COPIES = 3  # weights, momentum and best weights of a resume state
FLOAT_BYTES = 4.0
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
    phases = Phases(course_of(run), method_of(run))
    goes_on = run.arm != BASE_ARM and may_share_generation_1(run, params.base_of(run.name), phases)
    new_generations = generations - 1 if goes_on else generations
    new_epochs = new_generations * run.training.epochs_per_generation

    # Validation images every epoch. Clean images twice at each phase's end. Test images at a generation's, by the last
    # weights and, where validation images say which were best, by those.
    clean, test = 2 * images.train * phases_of_a_generation(phases), images.test * (2 if images.val else 1)
    # Training images once more by a teacher, where the method has one.
    taught_epochs = sum(phases.method.lesson(clock) is not None for clock in phases.course.clocks())

    state_copies = STATE_COPIES + phases.method.looks_back
    state_bytes = state_copies * FLOAT_BYTES * size.parameters
    # Kept weights; in scratch every generation's, and the resume state.
    copies = len(run.generations.with_weights) + generations + state_copies

    return Work(
        trained=new_epochs * images.train,
        measured=new_epochs * images.val + new_generations * (clean + test) + taught_epochs * images.train,
        compilers=1,
        saved=_states(params, new_generations, new_epochs) * state_bytes,
        bytes=FLOAT_BYTES * size.parameters * copies,
    )


def _states(params: Params, generations: int, epochs: int) -> float:
    """How many resume states are waited for: by time they are written beside the training, but for a generation's."""
    runtime = params.runtime
    return generations if runtime.resume_every_minutes else epochs / runtime.resume_every_epochs


def evaluation_cost(name: str, run: Run, dataset: str, params: Params, size: NetworkSize) -> Work:
    section = getattr(params, name)
    cost = EVALUATIONS[name].cost(section, images_of(dataset, params), size)
    if section.generations == "last":
        return cost
    return cost.times(len(run.generations.with_weights & {*section.generations}))


def phases_of_a_generation(phases: Phases) -> int:
    """How many phases the last generation has, as all that are trained have."""
    last, epochs = phases.course.generations, phases.course.epochs
    return sum(phases.ends(Clock(last, epoch)) for epoch in range(epochs))


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
