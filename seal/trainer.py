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

from seal.batchnorm import batch_counters, count_apart
from seal.checkpoint import State
from seal.clock import Clock, course_of
from seal.data.batches import Batches
from seal.errors import ConfigError, first_line
from seal.methods import method_of
from seal.models import drawn_values, is_named, network_of
from seal.networks import head_of
from seal.objective import Objective
from seal.optim import SignedSGD
from seal.phases import Phases
from seal.precision import arithmetic
from seal.record import Row
from seal.reinit import put
from seal.rng import seed_from, stream
from seal.rules import PARTS, NetworkView, Rules, Toss, Values, parts
from seal.split import Sides, split_parameters
from seal.steps import Masks, Teacher, climbing_steps

if TYPE_CHECKING:
    from seal.sections import Run

OnBatch = Callable[[Clock, int, Tensor, Tensor], None]  # the epoch, images, mean loss, right ones so far


class Diverged(RuntimeError):
    """The training loss stopped being finite at a batch; without one, a loss or a weight as a generation ended."""

    def __init__(self, clock: Clock, batch: int | None = None) -> None:
        self.place = {"generation": clock.generation, "epoch": clock.epoch}
        if batch is None:
            super().__init__(f"a loss or a weight at the end of generation {clock.generation} is not finite")
            return

        super().__init__(
            f"the training loss is not finite in generation {clock.generation}, epoch {clock.epoch}, batch {batch}"
        )
        self.place["batch"] = batch


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
        self.course, self.method = course_of(run), method_of(run)
        self.phases = Phases(self.course, self.method)
        self.objective = Objective(run.training, device)

        layout = torch.channels_last if run.training.channels_last else torch.contiguous_format
        model = network_of(run.model, data.classes, stream(run.seed, "initialisation"), device)
        self.model = model.to(memory_format=layout)  # type: ignore[call-overload]
        count_apart(self.model)

        self.sides, classifier = self._split()
        self.parts = parts(self.sides, classifier)
        self.names = [*itertools.chain(*self.parts.values())]  # in the optimizer's order
        self.optimizer = SignedSGD(
            [{"params": list(self.parts[part].values())} for part in PARTS],
            lr=run.training.learning_rate, momentum=run.training.momentum,
            weight_decay=run.training.weight_decay, backend=backend,
        )  # fmt: skip

        # What a step asks beside the groups' numbers, until an epoch begins.
        self.masks = Masks(self.model, {})
        self.teacher: Teacher | None = None
        self.toss: Toss | None = None
        self.climbs = False
        self.counters = batch_counters(self.model)

    @property
    def capture(self) -> str:
        """What became of the step's capture in a CUDA graph, in words for who watches; nothing where none was asked."""
        return ""

    def _split(self) -> tuple[Sides, str]:
        """The two sides, and the name of the linear layer. Raises ConfigError where a network has none such."""
        run, threshold = self.run, self.run.generations.layer_threshold
        if not is_named(run.model):
            return split_parameters(self.model, threshold), "fc"

        example = next(iter(self.data.clean.clean(1)))[0]
        try:
            return split_parameters(self.model, threshold, example), head_of(self.model.eval(), example)
        except (ValueError, RuntimeError, AssertionError) as error:  # an image that does not fit is any of them
            size, reason = example.shape[-1], first_line(error)
            raise ConfigError(f"model {run.model.network}, on images of {size}x{size}: {reason}") from error
        finally:
            self.model.train()

    def begin_epoch(self, clock: Clock, state: State | None = None) -> Rules:
        """Forget what the method forgets, follow its rules, and clear momentum at the edges of a phase.

        `state` is what is known of the epochs before this one; without it, nothing. The same steps, beside an owner's
        schedule and of what it has not frozen, are `Forgetting._begin`: a change of one is a change of the other.
        """
        known = state or State()
        network = self.view(clock, known)
        self.masks = Masks(self.model, self.method.alive(clock, network))
        forgotten = self.method.forget(clock, network)
        put(self.model, forgotten)

        self.rules, self.rate = self.method.rules(clock), self.course.rate(clock)
        self._follow(self.rules)

        if self.phases.clears_momentum(clock, forgot=bool(forgotten)):
            self.optimizer.reset_momentum()
        self.masks.cut(self.optimizer)
        self.optimizer.refresh()

        lesson = self.method.lesson(clock)
        self.teacher = None if lesson is None else Teacher(self.model, known.previous, lesson)
        self.toss = self.method.toss(clock, known.rows)
        return self.rules

    def view(self, clock: Clock, state: State) -> NetworkView:
        """What the method may look at before this epoch. All of an epoch's draws are from one stream."""
        run = self.run

        def drawn(names: Iterable[str]) -> Values:
            generator = stream(run.seed, "reinitialisation", clock.generation)
            return drawn_values(
                run.model, self.model, self.data.classes, generator, names, run.generations.reinitialiser
            )

        def initial() -> Values:
            generator = stream(run.seed, "initialisation")
            return drawn_values(run.model, self.model, self.data.classes, generator, self.names)

        return NetworkView(self.sides, drawn, initial, state.kept, state.alive)

    def train_epoch(self, clock: Clock, on_batch: OnBatch) -> Row:
        """One pass over the augmented training set. Gives the running loss and accuracy; raises Diverged."""
        if is_named(self.run.model):  # its layers may draw: each epoch anew, so that a resumed one draws the same
            torch.manual_seed(seed_from(stream(self.run.seed, "layers", clock.generation, clock.epoch)))

        losses, sizes, correct = [], [], torch.zeros((), dtype=torch.int64, device=self.device)
        with arithmetic(self.run.training.precision):
            for (x, y), climbs in zip(self.data.train.epoch(*self.draws(clock)), self.climbing(clock), strict=True):
                self._turn(climbs)
                loss, hits = self.step(x, y)
                losses.append(loss)
                sizes.append(len(y))
                correct += hits
                on_batch(clock, len(y), loss, correct)
            self._turn(False)
        return self.row_of(clock, torch.stack(losses), torch.tensor(sizes, device=self.device), correct)

    def draws(self, clock: Clock) -> tuple[torch.Generator, torch.Generator]:
        """The streams of an epoch's order and of its augmentation."""
        at = (clock.generation, clock.epoch)
        return stream(self.run.seed, "order", *at), stream(self.run.seed, "augmentation", *at)

    def climbing(self, clock: Clock) -> list[bool]:
        """For each step of the epoch whether it follows the toss's rules."""
        return climbing_steps(self.course, self.toss, clock, len(self.data.train))

    def row_of(self, clock: Clock, losses: Tensor, sizes: Tensor, correct: Tensor) -> Row:
        """The running loss and accuracy, of each batch's mean loss and its number of images; raises Diverged."""
        of_batches = losses * sizes
        if not of_batches.isfinite().all():
            raise Diverged(clock, int((~of_batches.isfinite()).nonzero()[0]))

        seen = int(sizes.sum())
        return {"train_loss": float(of_batches.sum()) / seen, "train_accuracy": int(correct) / seen}

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Forward, backward, signed step. Gives the mean loss and the number of right classes, on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, right = self.objective(self.model, x, y, self.teacher)
        loss.backward()  # type: ignore[no-untyped-call]
        self.masks.cut_gradients()
        self.optimizer.step()
        if self.counters:
            torch._foreach_add_(self.counters, 1)
        return loss.detach(), right.sum()

    def _turn(self, climbs: bool) -> bool:
        """Let the next step follow the toss's rules where it climbs, else the epoch's own; whether that changed any."""
        if self.toss is None or climbs == self.climbs:
            return False

        self.climbs = climbs
        self._follow(self.toss.rules if climbs else self.rules)
        if self.toss.turns_momentum:
            self.optimizer.turn_momentum()
        return True

    def _follow(self, rules: Rules) -> None:
        """Put rules into the optimizer's groups, and into what is trained and what moves statistics."""
        self.model.train()
        for part, group in zip(PARTS, self.optimizer.param_groups, strict=True):
            rule = rules[part]
            group.update(lr=self.rate * rule.lr_scale, maximize=rule.maximize, weight_decay=rule.weight_decay)

            for name, parameter in self.parts[part].items():
                parameter.requires_grad_(not rule.frozen)
                owner = self.model.get_submodule(name.rpartition(".")[0])
                if rule.hold_statistics and isinstance(owner, _BatchNorm):
                    owner.eval()
        self.counters = batch_counters(self.model)
