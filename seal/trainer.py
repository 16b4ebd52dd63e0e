"""A network in training: a batch and a loss together, under the rules that the method gives for an epoch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from seal.batchnorm import batch_statistics, running_statistics
from seal.checkpoint import State
from seal.clock import Clock, global_epoch, learning_rate
from seal.config import Run
from seal.data.batches import Batches
from seal.methods import SIDES, Rules, method_of, sides
from seal.models import build
from seal.optim import SignedSGD
from seal.record import Row
from seal.reinit import initialise
from seal.rng import stream
from seal.split import split_parameters


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
    """Model, optimizer and rules of one run, moved from epoch to epoch by the clock."""

    def __init__(self, run: Run, data: Data, device: torch.device, backend: str = "auto") -> None:
        self.run, self.data, self.device = run, data, device
        self.method = method_of(run)
        layout = torch.channels_last if run.training.channels_last else torch.contiguous_format
        model = build(run.model, data.classes, stream(run.seed, "initialisation"), device)
        self.model = model.to(memory_format=layout)  # type: ignore[call-overload]
        self.split = split_parameters(self.model, run.generations.layer_threshold)
        self.sides = sides(self.split)
        self.optimizer = SignedSGD(
            [{"params": list(self.sides[side].values())} for side in SIDES],
            lr=run.training.learning_rate, momentum=run.training.momentum,
            weight_decay=run.training.weight_decay, backend=backend,
        )  # fmt: skip
        self.loss = nn.CrossEntropyLoss(label_smoothing=run.training.label_smoothing)

    def autocast(self) -> AbstractContextManager[Any]:
        if self.run.training.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def ascends(self, clock: Clock) -> bool:
        return any(rule.maximize for rule in self.method.rules(clock).values())

    def last_of_phase(self, clock: Clock) -> bool:
        return self.last_of_generation(clock) or self.ascends(clock) != self.ascends(
            Clock(clock.generation, clock.epoch + 1)
        )

    def last_of_generation(self, clock: Clock) -> bool:
        return clock.epoch == self.run.training.epochs_per_generation - 1

    def begin_epoch(self, clock: Clock) -> Rules:
        """Draw anew what the method forgets, set each side's rule, and clear momentum at the edges of a phase."""
        forgotten = self.method.reinitialised(clock, self.split)
        generator = stream(self.run.seed, "reinitialisation", clock.generation)
        initialise(self.model, generator, forgotten, self.run.generations.reinitialiser)
        rules = self.method.rules(clock)
        rate = learning_rate(self.run, clock)
        self.model.train()
        for side, group in zip(SIDES, self.optimizer.param_groups, strict=True):
            rule = rules[side]
            group.update(lr=rate * rule.lr_scale, maximize=rule.maximize, weight_decay=rule.weight_decay)
            for name, parameter in self.sides[side].items():
                parameter.requires_grad_(not rule.frozen and name not in rule.untrained)
                owner = self.model.get_submodule(name.rpartition(".")[0])
                if rule.hold_statistics and isinstance(owner, _BatchNorm):
                    owner.eval()
        if self.run.generations.reset_momentum and self.at_edge(clock, bool(forgotten)):
            self.optimizer.reset_momentum()
        self.optimizer.refresh()
        return rules

    def at_edge(self, clock: Clock, forgot: bool) -> bool:
        """Whether the rate restarts, a phase begins, or something was drawn anew before this epoch."""
        if clock.epoch == 0:
            restarts = self.run.generations.schedule == "per_generation"
            return clock.generation > 1 and (restarts or forgot or self.ascends(clock))
        return forgot or self.ascends(clock) != self.ascends(Clock(clock.generation, clock.epoch - 1))

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Forward, backward, signed step. Gives the mean loss and the number of right classes, on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            logits = self.model(x)
            loss = self.loss(logits, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), (logits.detach().argmax(1) == y).sum()

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

    @torch.no_grad()
    def measure(
        self, network: Callable[[Tensor], Tensor], batches: Iterator[tuple[Tensor, Tensor]]
    ) -> tuple[float, Tensor]:
        """Mean loss, and whether each image's class is right (bool [N], in the batches' order)."""
        loss, hits = torch.zeros((), dtype=torch.float64, device=self.device), []
        for x, y in batches:
            with self.autocast():
                logits = network(x)
                loss += self.loss(logits, y).double() * len(y)
            hits.append(logits.argmax(1) == y)
        right = torch.cat(hits)
        return float(loss) / len(right), right

    def measure_clean(self, clock: Clock) -> Row:
        """Loss and accuracy on the training images without augmentation, by running and by batch statistics.

        Running statistics lag behind while weights move fast; both are reported. The order is shuffled, because the
        packed order would give batches of a single class.
        """
        row: Row = {}
        for suffix, statistics in (("", running_statistics), ("_batch_statistics", batch_statistics)):
            generator = stream(self.run.seed, "clean", clock.generation, clock.epoch)
            with statistics(self.model):
                loss, right = self.measure(self.model, self.data.clean.epoch(generator, generator))
            row |= {f"clean_loss{suffix}": loss, f"clean_accuracy{suffix}": float(right.double().mean())}
        return row

    def describe(self, clock: Clock, rules: Rules) -> Row:
        """What is known of an epoch beside its losses: the clock, and each side's rate, sign and norm."""
        run = self.run
        row: Row = {
            "generation": clock.generation,
            "epoch": clock.epoch,
            "global_epoch": global_epoch(clock, run.training.epochs_per_generation),
            "phase": "ascent" if self.ascends(clock) else "descent",
        }
        for side, parameters in (("early", self.split.early), ("late", self.split.late)):
            rule = rules[side]  # type: ignore[index]
            row[f"lr_{side}"] = 0.0 if rule.frozen else learning_rate(run, clock) * rule.lr_scale
            row[f"sign_{side}"] = 0 if rule.frozen else -1 if rule.maximize else 1
            squares = [value.detach().double().square().sum() for value in parameters.values()]
            row[f"norm_{side}"] = float(torch.stack(squares).sum().sqrt())
        return row

    def load(self, state: State) -> None:
        self.model.load_state_dict(state.model)
        layout = self.optimizer.state_dict()
        names = [name for side in SIDES for name in self.sides[side]]
        layout["state"] = {
            index: {"momentum_buffer": state.momentum[name]}
            for index, name in enumerate(names)
            if name in state.momentum
        }
        self.optimizer.load_state_dict(layout)

    def store(self, state: State) -> None:
        names = [name for side in SIDES for name in self.sides[side]]
        state.model = {name: value.clone() for name, value in self.model.state_dict().items()}
        state.momentum = {
            names[index]: values["momentum_buffer"].clone()
            for index, values in self.optimizer.state_dict()["state"].items()
            if values.get("momentum_buffer") is not None
        }
