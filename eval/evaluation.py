"""What every evaluation's stage has around it: its arguments, the networks to look at, its files, timing, errors.

A stage writes a folder, results/<run>/eval/<evaluation>[-<target>]/, with one JSON a generation, gen-NN.json, beside
gen-NN.npz with values per image or episode. Where the target is not there, or the training ended before the
generation, skipped.json says so in their place.
"""

import argparse
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from seal.checkpoint import load_tensors
from seal.config import Params, Run, load_params
from seal.data.pack import PACKS, DatasetMissing, Pack, open_pack
from seal.device import torch_device
from seal.errors import UserError
from seal.models import ResNet
from seal.record import RESULTS, atomic, file_sha256, read_json, write_json
from seal.stage import Timing, progress_bar, stage

SCHEMA = 1
SKIPPED = "skipped.json"


@dataclass(frozen=True)
class Network:
    """A trained network in eval() mode, without gradients, as one generation left it."""

    model: ResNet
    generation: int
    sha256: str  # of the checkpoint


@dataclass
class Evaluation:
    """One stage: an evaluation of a run, on a target where it has one."""

    name: str
    target: str | None
    params: Params
    run: Run
    device: torch.device
    bar: Progress
    timing: Timing

    @cached_property
    def pack(self) -> Pack:
        """Of the target, else of the images that the run was trained on. Raises DatasetMissing."""
        return open_pack(PACKS / f"{self.target or self.params.source}.safetensors")

    @property
    def folder(self) -> Path:
        return evaluation_folder(RESULTS / self.run.name, self.name, self.target)

    def networks(self, generations: Sequence[int] | str) -> Iterator[Network]:
        """Those generations of the run whose weights were kept; `last` is the run's last.

        Raises UserError where none of them was. A training that diverged and was recorded has fewer, and says so.
        """
        place = RESULTS / self.run.name
        if not (place / "summary.json").exists():
            raise UserError(f"{place}: no record of this run; `dvc repro` trains it")
        total = self.run.generations.num_generations
        wanted = [total] if isinstance(generations, str) else sorted(set(generations))
        diverged = read_json(place / "summary.json")["diverged"]
        found = [
            (generation, path)
            for generation in wanted
            if (path := place / f"weights/gen-{generation:02d}.safetensors").exists()
        ]
        if not found and diverged:
            raise Skipped(f"the training diverged in generation {diverged['generation']}", "DIVERGED")
        if not found:
            raise UserError(
                f"{self.name}.generations: found none of {wanted} in {place}/weights; name some of kept_generations"
            )
        for generation, path in found:
            tensors, _ = load_tensors(path)
            model = ResNet(self.run.model, len(tensors["fc.bias"]))
            model.load_state_dict(tensors)
            model.to(self.device).eval().requires_grad_(False)
            yield Network(model, generation, file_sha256(path))

    def write(
        self, network: Network, params: Mapping[str, Any], values: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:  # fmt: skip
        """Write a generation's values, floats rounded to seven digits, and its arrays."""
        name = f"gen-{network.generation:02d}"
        if arrays:
            with atomic(self.folder / f"{name}.npz") as path, path.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
        record = self._facts() | {
            "generation": network.generation,
            "checkpoint_sha256": network.sha256,
            "data_sha256": self.pack.sha256,
            "params": dict(params),
            "values": rounded(values),
        }
        write_json(self.folder / f"{name}.json", record)

    def skip(self, reason: str, status: str) -> None:
        write_json(self.folder / SKIPPED, self._facts() | {"status": status, "reason": reason})
        self.bar.console.print(f"{self.folder}: {status}: {reason}", highlight=False, soft_wrap=True)

    def _facts(self) -> dict[str, Any]:
        run = self.run
        facts = {"schema": SCHEMA, "evaluation": self.name, "target": self.target}
        return facts | {"tier": run.tier, "arm": run.arm, "seed": run.seed}


class Skipped(Exception):
    """Ends a stage well, with a skipped.json."""

    def __init__(self, reason: str, status: str = "SKIPPED-DATA") -> None:
        super().__init__(reason)
        self.status = status


def evaluation_folder(run_folder: Path, name: str, target: str | None = None) -> Path:
    return run_folder / "eval" / (name if target is None else f"{name}-{target}")


def rounded(value: Any) -> Any:
    """Floats to seven significant digits; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return value


@contextmanager
def evaluation_stage(name: str, *, target: bool, arguments: Sequence[str] | None = None) -> Iterator[Evaluation]:
    """`python -m eval.<name> --run ARM-SEED [--target DATASET]`: the block evaluates, what it writes is the stage's.

    A missing dataset, or Skipped raised in the block, leaves skipped.json and ends well. A UserError ends the process
    with one line and status 1.
    """
    parser = argparse.ArgumentParser(prog=f"python -m eval.{name}")
    parser.add_argument("--run", required=True, metavar="ARM-SEED", help="e.g. seal-0")
    if target:
        parser.add_argument("--target", required=True, metavar="DATASET", help="a key of `datasets` in params.yaml")
    parser.set_defaults(target=None)
    chosen = parser.parse_args(arguments)

    label = evaluation_folder(Path(chosen.run), name, chosen.target)
    with stage(f"{label.name}@{chosen.run}") as timing, progress_bar() as bar:
        params = load_params()
        run, device = params.find_run(chosen.run), torch_device(params.runtime)
        if target and chosen.target not in params.datasets:
            raise UserError(f"--target {chosen.target}: no such dataset, expected one of {', '.join(params.datasets)}")

        evaluation = Evaluation(name, chosen.target, params, run, device, bar, timing)
        shutil.rmtree(evaluation.folder, ignore_errors=True)
        try:
            yield evaluation
        except (DatasetMissing, Skipped) as reason:
            evaluation.skip(str(reason), getattr(reason, "status", "SKIPPED-DATA"))
