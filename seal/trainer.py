"""A network that steps: built for a run, and moved from epoch to epoch by the rules that the method gives.

The loop in loop.py drives it; what is measured on it is in rows.py, and what is kept of it in checkpoint.py.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from seal.clock import Clock, learning_rate
from seal.data.batches import Batches
from seal.methods import method_of
from seal.models import build
from seal.objective import Objective
from seal.optim import SignedSGD
from seal.phases import Phases
from seal.record import Row
from seal.reinit import drawn, put
from seal.rng import stream
from seal.rules import PARTS, Network, Rules, Values, parts
from seal.split import split_parameters

if TYPE_CHECKING:
    from seal.sections import Run


class Diverged(RuntimeError):
    """The training loss stopped being finite."""

    def __init__(self, clock: Clock, batch: int) -> None:
        super().__init__(
            f"the training loss is not finite in generation {clock.generation}, epoch {clock.epoch}, batch {batch}"
        )
        self.place = {"generation": clock.generation, "epoch": clock.epoch, "batch": batch}


@dataclass(frozen=True)
class Data:
    """What a training reads: batches of each split. `clean` is train without augmentation; `val` may be empty."""

    train: Batches
    clean: Batches
    val: Batches
    test: Batches
    classes: int


class Trainer:
    """Model, optimizer and rules of one run; it knows no epoch but the one it is told."""

    def __init__(self, run: "Run", data: Data, device: torch.device, backend: str = "auto") -> None:
        self.run, self.data, self.device = run, data, device
        self.method = method_of(run)
        self.phases = Phases(run, self.method)
        self.objective = Objective(run.training, device)

        layout = torch.channels_last if run.training.channels_last else torch.contiguous_format
        model = build(run.model, data.classes, stream(run.seed, "initialisation"), device)
        self.model = model.to(memory_format=layout)  # type: ignore[call-overload]

        self.sides = split_parameters(self.model, run.generations.layer_threshold)
        self.parts = parts(self.sides)
        self.names = [*itertools.chain(*self.parts.values())]  # in the optimizer's order
        self.optimizer = SignedSGD(
            [{"params": list(self.parts[part].values())} for part in PARTS],
            lr=run.training.learning_rate, momentum=run.training.momentum,
            weight_decay=run.training.weight_decay, backend=backend,
        )  # fmt: skip

    def begin_epoch(self, clock: Clock) -> Rules:
        """Forget what the method forgets, follow its rules, and clear momentum at the edges of a phase."""
        forgotten = self.forgotten(clock)
        put(self.model, forgotten)

        rules = self.method.rules(clock)
        self._follow(rules, learning_rate(self.run, clock))

        if self.phases.clears_momentum(clock, forgot=bool(forgotten)):
            self.optimizer.reset_momentum()
        self.optimizer.refresh()
        return rules

    def forgotten(self, clock: Clock) -> Values:
        """The values that the method puts in place before this epoch. All of an epoch's draws are from one stream."""

        def fresh(names: Iterable[str]) -> Values:
            generator = stream(self.run.seed, "reinitialisation", clock.generation)
            return drawn(
                self.model, generator, names, self.run.generations.reinitialiser, self.run.model.classifier_bias
            )

        return self.method.forget(clock, Network(self.sides, fresh))

    def train_epoch(self, clock: Clock, on_batch: Callable[[Clock, int, Tensor, Tensor], None]) -> Row:
        """One pass over the augmented training set. Gives the running loss and accuracy; raises Diverged."""
        at = (clock.generation, clock.epoch)
        order, augmentation = (stream(self.run.seed, purpose, *at) for purpose in ("order", "augmentation"))

        losses, correct, seen = [], torch.zeros((), dtype=torch.int64, device=self.device), 0
        for x, y in self.data.train.epoch(order, augmentation):
            loss, hits = self.step(x, y)
            losses.append(loss * len(y))
            correct += hits
            seen += len(y)
            on_batch(clock, len(y), loss, correct)

        per_batch = torch.stack(losses)
        if not per_batch.isfinite().all():
            raise Diverged(clock, int((~per_batch.isfinite()).nonzero()[0]))
        return {"train_loss": float(per_batch.sum()) / seen, "train_accuracy": int(correct) / seen}

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Forward, backward, signed step. Gives the mean loss and the number of right classes, on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, right = self.objective(self.model, x, y)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach(), right.sum()

    def _follow(self, rules: Rules, rate: float) -> None:
        """Put the rules of an epoch into the optimizer's groups, and into what is trained and what moves statistics."""
        self.model.train()
        for part, group in zip(PARTS, self.optimizer.param_groups, strict=True):
            rule = rules[part]
            group.update(lr=rate * rule.lr_scale, maximize=rule.maximize, weight_decay=rule.weight_decay)

            for name, parameter in self.parts[part].items():
                parameter.requires_grad_(not rule.frozen)
                owner = self.model.get_submodule(name.rpartition(".")[0])
                if rule.hold_statistics and isinstance(owner, _BatchNorm):
                    owner.eval()
