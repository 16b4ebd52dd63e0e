"""Weights and resume state as safetensors (no pickle): tensors in a file, and all that an unfinished training needs.

Training writes and reads it, evaluations read weights by it.
"""

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from seal.clock import Clock
from seal.errors import UserError
from seal.record import Row, atomic

Tensors = dict[str, Tensor]
RESUME = "state.safetensors"  # in a run's scratch folder: what an interrupted training goes on from
GROUPS = ("model", "momentum", "best", "previous", "kept", "alive")  # of tensors in a State
HANDOVER = "handover.safetensors"  # of a base run's record: what its arms go on from


class CheckpointError(UserError):
    """A checkpoint or scratch folder that cannot be used."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors in one file, whole or not at all. Equal tensors give equal bytes.

    Raises OSError where the disk is full.
    """
    packed = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic(path) as temporary:
        try:
            save_file(packed, temporary, dict(metadata or {}))
        except SafetensorError as error:  # the system's message and no errno
            if f"os error {errno.ENOSPC}" not in str(error):
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def load_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Tensors on the CPU and metadata. Raises CheckpointError where the file is not there or damaged."""
    if not path.exists():
        stage = f" base@{path.parent.name.rpartition('-')[2]}" if path.name == HANDOVER else ""
        raise CheckpointError(f"{path}: not found; `dvc repro{stage}` makes it")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except Exception as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); delete it and run again") from error


def fits(tensors: Tensors, expected: Mapping[str, Tensor], path: Path, *, recorded: bool = True) -> None:
    """Raises CheckpointError unless these are a network's tensors, by name, shape and dtype; and finite, in a record.

    Not `recorded` is a resume state: DVC does not have it, and a training that diverges is saved as it stands before.
    """
    again = "`dvc checkout` restores it, or delete it and run again" if recorded else "delete it to begin anew"
    if differing := sorted(tensors.keys() ^ expected.keys()):
        raise CheckpointError(f"{path}: found no network of these parameters: {differing[0]} is one side's; {again}")

    for name, tensor in tensors.items():
        wanted = expected[name]
        if (tensor.shape, tensor.dtype) != (wanted.shape, wanted.dtype):
            raise CheckpointError(f"{path}: {name}: found {_kind(tensor)}, expected {_kind(wanted)}; {again}")
        if recorded and not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name}: found numbers that are not finite; {again}")


def _kind(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"


@dataclass
class State:
    """Everything that an unfinished training needs, as of the end of epoch `clock`."""

    clock: Clock | None = None
    model: Tensors = field(default_factory=dict)
    momentum: Tensors = field(default_factory=dict)
    best: Tensors = field(default_factory=dict)
    previous: Tensors = field(default_factory=dict)  # the last generation's end, where the method looks back
    kept: Tensors = field(default_factory=dict)  # an earlier epoch's end, where the method keeps it
    alive: Tensors = field(default_factory=dict)  # masks, bool
    best_epoch: dict[str, Any] | None = None  # generation, epoch, val_accuracy of `best`
    rows: list[Row] = field(default_factory=list)
    generations: list[dict[str, Any]] = field(default_factory=list)
    made_by: dict[str, Any] | None = None  # what a file says of the machine that wrote it
    run: str | None = None  # whose it is
    threads: int | None = None  # that it was trained with; another number sums in another order

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        save_tensors(path, *self.packed())

    def packed(self, made_by: Mapping[str, Any] | None = None) -> tuple[Tensors, dict[str, str]]:
        """Tensors on the CPU, which later epochs leave alone, and metadata: what a file has of it.

        `made_by`: what a resume state says of its machine, and a handover does not.
        """
        groups = {name: getattr(self, name) for name in GROUPS if name != "best"}
        if self.best is not self.model:  # while the last epoch is the best, its weights are written once
            groups["best"] = self.best

        tensors: Tensors = {}
        for group, members in groups.items():
            for name, value in members.items():
                tensors[f"{group}/{name}"] = value.detach().cpu()

        clock = None if self.clock is None else asdict(self.clock)
        facts: dict[str, Any] = {
            "clock": clock,
            "best_epoch": self.best_epoch,
            "rows": self.rows,
            "generations": self.generations,
        }
        if self.run is not None:
            facts["run"] = self.run
        if self.threads is not None:
            facts["threads"] = self.threads

        metadata = {"state": json.dumps(facts, sort_keys=True)}
        if made_by is not None:
            metadata["made_by"] = json.dumps(dict(made_by), sort_keys=True)
        return tensors, metadata

    @classmethod
    def load(cls, path: Path) -> "State":
        """Raises CheckpointError for what is no such state."""
        tensors, metadata = load_tensors(path)
        try:
            state = cls._of(tensors, json.loads(metadata["state"]))
            state.made_by = json.loads(metadata["made_by"]) if "made_by" in metadata else None
            return state
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: no resume state of this version ({error!r}); delete it and run again"
            ) from None

    @classmethod
    def _of(cls, tensors: Tensors, facts: dict[str, Any]) -> "State":
        groups: dict[str, Tensors] = {name: {} for name in GROUPS}
        for name, value in tensors.items():
            group, _, member = name.partition("/")
            groups[group][member] = value

        if facts["best_epoch"] and not groups["best"]:
            groups["best"] = groups["model"]
        clock = None if facts["clock"] is None else Clock(**facts["clock"])
        return cls(
            clock, **groups, best_epoch=facts["best_epoch"], rows=list(facts["rows"]),
            generations=list(facts["generations"]), run=facts.get("run"), threads=facts.get("threads"),
        )  # fmt: skip

    def take(self, model: nn.Module, optimizer: Optimizer, names: Sequence[str]) -> None:
        """Copy weights, statistics and momentum; `names` are the parameters' in the optimizer's order."""
        self.model = {name: value.clone() for name, value in model.state_dict().items()}
        self.momentum = {}
        for index, values in optimizer.state_dict()["state"].items():
            if values.get("momentum_buffer") is not None:
                self.momentum[names[index]] = values["momentum_buffer"].clone()

    def copied(self) -> Tensors:
        """The network that was taken, in memory of its own: safetensors refuses what two groups share."""
        return {name: value.clone() for name, value in self.model.items()}

    def put(self, model: nn.Module, optimizer: Optimizer, names: Sequence[str]) -> None:
        """Put what was taken into a network and its optimizer; numbers of groups stay the optimizer's own."""
        model.load_state_dict(self.model)

        momentum = {}
        for index, name in enumerate(names):
            if name in self.momentum:
                momentum[index] = {"momentum_buffer": self.momentum[name]}

        layout = optimizer.state_dict()
        layout["state"] = momentum
        optimizer.load_state_dict(layout)
