"""The stage of an evaluation: its arguments, the networks to look at, and the files that it leaves.

A stage writes a folder, results/<run>/eval/<evaluation>[-<target>]/, with one JSON a generation, gen-NN.json, beside
gen-NN.npz with values per image or episode. Where the target is not there, or the training ended before the
generation, skipped.json says so in their place.

A new evaluation is a file whose `main` looks like every other's, and an entry in seal/evaluations.py:

    def evaluate(stage: EvaluationStage, network: TrainedNetwork, section: Mine) -> Findings:
        ...  # from network.model and stage.pack, on stage.device; stage.bar shows how far it is

    def look(stage: EvaluationStage) -> None:
        section = stage.params.mine
        stage.timing.unit, stage.timing.backend = "images", "torch"
        for network in stage.networks(section.generations):
            stage.write(network, evaluate(stage, network, section))

    def main(arguments: Sequence[str] | None = None) -> None:
        with evaluation_stage("mine", arguments) as stage:
            look(stage)

`seal evaluate` calls `look` with a stage of a network from elsewhere (eval/own.py). An evaluation is a function of
network, images and section alone. All randomness is seal.rng's, by the section's seed.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from eval.networks import TrainedNetwork, kept_weights, load_network, was_trained_on
from eval.written import whole_or_as_before, write_arrays
from seal.data.pack import DatasetMissing, Pack
from seal.device import MB, require_memory, torch_device
from seal.errors import UserError
from seal.models import is_named
from seal.record import RESULTS, SKIPPED, read_json, rounded, write_json
from seal.stage import Timing, progress_bar, stage

if TYPE_CHECKING:
    from rich.progress import Progress

    from seal.config import Params
    from seal.evaluations import WhichGenerations
    from seal.sections import Run

SCHEMA = 1
LOWERED = ("memory_mb", "feature_batch_size", "batch_size")  # of a section, by which it takes less of a GPU's memory


@dataclass(frozen=True)
class Findings:
    """What an evaluation found of one network."""

    values: Mapping[str, Any]  # the JSON's `values`
    arrays: Mapping[str, NDArray[Any]]  # per image or episode
    params: Mapping[str, Any]  # what the values depend on beside the network and the images
    work: float  # how much was done, in the stage's unit
    remark: str = ""  # a line for the person who watches


class Skipped(Exception):
    """Ends a stage well, with a skipped.json. Raised by a stage's main and by what it calls with the stage alone."""

    def __init__(self, reason: str, status: str = "SKIPPED-DATA") -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class EvaluationStage:
    """One stage: an evaluation of a run, on a target where it has one."""

    name: str
    target: str | None
    params: "Params"
    run: "Run"
    device: torch.device
    bar: "Progress"
    timing: Timing
    made: Path | None = None  # a folder that takes the place of `folder` when it is whole

    @cached_property
    def pack(self) -> Pack:
        """Of the target, else of the images that the run was trained on. Raises DatasetMissing."""
        from seal.data.selection import chosen_pack  # it needs pydantic, as below

        name = self.target or self.params.source
        return chosen_pack(name, self.params.datasets[name])

    @property
    def folder(self) -> Path:
        return RESULTS / self.run.name / "eval" / folder_name(self.name, self.target)

    @property
    def written(self) -> Path:
        """Where files are written until all of them are there."""
        return self.made or self.folder

    def networks(self, generations: "WhichGenerations") -> Iterator[TrainedNetwork]:
        """Those generations of the run whose weights were kept; `last` is the run's last.

        Raises UserError where none of them was, and Skipped where that is because the training diverged.
        """
        place = RESULTS / self.run.name
        if not (place / "summary.json").exists():
            raise UserError(f"{place}: no record of this run; `dvc repro` trains it")

        wanted = [self.run.generations.num_generations] if generations == "last" else sorted(set(generations))
        weights = kept_weights(place, wanted)
        summary = read_json(place / "summary.json")
        was_trained_on(self.run.name, summary, self.params.source, self.pack if self.target is None else None)
        diverged = summary["diverged"]
        if not weights and diverged:
            raise Skipped(f"the training diverged in generation {diverged['generation']}", "DIVERGED")
        if not weights:
            raise UserError(
                f"{self.name}.generations: found none of {wanted} in {place}/weights; name some of kept_generations"
            )

        size = self.params.datasets[self.params.source].image_size if is_named(self.run.model) else None
        probed = self.name == "prediction_depth"
        for generation, path in weights.items():
            yield load_network(path, generation, self.run.model, self.device, summary, size, probed)

    def write(self, network: TrainedNetwork, findings: Findings) -> None:
        """Write a generation's values, floats rounded to seven digits, and its arrays; and count the work."""
        path = self.written / f"gen-{network.generation:02d}.json"
        if findings.arrays:
            write_arrays(path.with_suffix(".npz"), findings.arrays)
        record = self._facts() | {
            "generation": network.generation,
            "checkpoint_sha256": network.sha256,
            "data_sha256": self.pack.sha256,
            "params": dict(findings.params),
            "values": rounded(findings.values),
        }
        write_json(path, record)

        self.timing.done += findings.work
        if findings.remark:
            self._say(f"{self.folder}: generation {network.generation}: {findings.remark}")

    def skip(self, reason: str, status: str) -> None:
        write_json(self.written / SKIPPED, self._facts() | {"status": status, "reason": reason})
        self._say(f"{self.folder}: {status}: {reason}")

    def _facts(self) -> dict[str, Any]:
        run = self.run
        facts = {"schema": SCHEMA, "evaluation": self.name, "target": self.target}
        return facts | {"tier": run.tier, "arm": run.arm, "seed": run.seed}

    def _say(self, line: str) -> None:
        self.bar.console.print(line, highlight=False, soft_wrap=True)


def folder_name(evaluation: str, target: str | None) -> str:
    """Of an evaluation's results; and, of a run, how DVC names its stage."""
    return evaluation if target is None else f"{evaluation}-{target}"


@contextmanager
def evaluation_stage(name: str, arguments: Sequence[str] | None) -> Iterator[EvaluationStage]:
    """`python -m eval.<name> --run ARM-SEED [--target DATASET]`: the block evaluates, what it writes is the stage's.

    A missing dataset, or Skipped raised in the block, leaves skipped.json and ends well. A UserError ends the process
    with one line and status 1.
    """
    # Here, because they need pydantic, which an evaluation of tensors of one's own does not.
    from seal.config import load_params
    from seal.evaluations import EVALUATIONS
    from seal.evidence import read_summary

    parser = argparse.ArgumentParser(prog=f"python -m eval.{name}")
    parser.add_argument("--run", required=True, metavar="ARM-SEED", help="e.g. seal-0")
    parser.set_defaults(target=None)
    if EVALUATIONS[name].targeted:
        parser.add_argument("--target", required=True, metavar="DATASET", help="a key of `datasets` in params.yaml")
    chosen = parser.parse_args(arguments)

    with stage(f"{name}@{folder_name(chosen.run, chosen.target)}") as timing, progress_bar() as bar:
        params = load_params()
        run, device = params.find_run(chosen.run), torch_device(params.runtime)
        if chosen.target is not None and chosen.target not in params.datasets:
            raise UserError(f"--target {chosen.target}: no such dataset, expected one of {', '.join(params.datasets)}")

        summary = RESULTS / run.name / "summary.json"
        if summary.exists():  # before its parts are used
            read_summary(summary)

        evaluation = EvaluationStage(name, chosen.target, params, run, device, bar, timing)
        with written_whole(evaluation):
            yield evaluation


@contextmanager
def written_whole(evaluation: EvaluationStage) -> Iterator[None]:
    """What the block writes takes the folder's place as it ends; a missing dataset and Skipped leave skipped.json.

    Raises UserError where a GPU has less memory left than the section asks for.
    """
    section = getattr(evaluation.params, evaluation.name)
    lower = next((key for key in LOWERED if hasattr(section, key)), "batch_size")
    evaluation.timing.lower = f"{evaluation.name}.{lower}"
    if lower == "memory_mb":
        words = f"{evaluation.timing.lower} of {section.memory_mb}"
        require_memory(evaluation.device, section.memory_mb * MB, words, f"lower {evaluation.timing.lower}")

    with whole_or_as_before(evaluation.folder) as evaluation.made:
        try:
            yield
        except (DatasetMissing, Skipped) as reason:
            evaluation.skip(str(reason), getattr(reason, "status", "SKIPPED-DATA"))
