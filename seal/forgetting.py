"""A method of seal.methods in a training loop of one's own, around any network.

Of this project it needs what the trainer steps by, and neither parameter files nor records.
"""

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from seal.clock import Clock, Course
from seal.fitting import FittingView, check_schedule, drawn_of, frozen_by_owner, method_named, rehearse, trained
from seal.optim import SignedSGD
from seal.phases import Phases
from seal.reinit import put
from seal.rng import stream, torch_drawing_from
from seal.ruled_groups import OWN_DECAY, RuledGroups, numbers_of, put_numbers
from seal.rules import NetworkView, Values
from seal.steps import Masks, Teacher

# By whose rules an optimizer steps and a network trains, one at a time: of two the numbers that the one puts back would
# be the other's, and what the one has frozen the other would take for its owner's.
LEADERS: MutableMapping[SignedSGD | nn.Module, "ref[Forgetting]"] = WeakKeyDictionary()


class Forgetting:
    """What `method` asks of the epochs of a training, done to a model and its optimizer.

        forgetting = Forgetting("llf", model, optimizer, "layer3", generations=3, epochs=160, fresh=make_model)
        for clock in forgetting.epochs():
            for x, y in loader:
                optimizer.zero_grad()
                logits = model(x)
                forgetting.loss(x, logits, cross_entropy(logits, y)).backward()
                optimizer.step()

    `threshold` names the module at which the late side begins (`split_parameters`). Each group of the optimizer holds
    parameters of one side, or of none of the model; its numbers are its own and change within a step alone, so that any
    schedule, log or scaler sees what it has set. `schedule(optimizer)` makes a scheduler for each generation, which is
    stepped after each epoch and begins at the rates that the groups had first. `fresh` builds a network with new
    values, for methods that draw some; one is built at once, to see that it fits. `options` are the method's own
    numbers. With an `example` of the model's input the sides are found by the order of a forward pass. What its owner
    has frozen (`requires_grad` is False) no method prunes or draws anew.

    Raises ValueError for a method, option, threshold, group, network or draw that cannot be, TypeError for another
    optimizer.
    """

    def __init__(
        self, method: str, model: nn.Module, optimizer: SignedSGD, threshold: str, *, generations: int, epochs: int,
        fresh: Callable[[], nn.Module] | None = None, schedule: Callable[[SignedSGD], LRScheduler] | None = None,
        seed: int = 0, example: Tensor | None = None, **options: Any,
    ) -> None:  # fmt: skip
        if not isinstance(optimizer, SignedSGD):
            raise TypeError(f"the optimizer is a {type(optimizer).__name__}, expected a seal.SignedSGD")
        self.name, self.model, self.optimizer = method, model, optimizer
        self.fresh, self.schedule = fresh, schedule
        # What a state is of; more generations may follow.
        self.choices = {"method": method, "threshold": threshold, "epochs": epochs, "seed": seed} | options

        self.first_rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.begun = _copied(model)
        # A decay of 1, so that a rule's is the multiple of each group's own.
        self.course = Course(
            seed, generations, epochs, OWN_DECAY, lambda clock: float(optimizer.param_groups[0]["lr"]),
            rate_restarts=schedule is not None, reset_momentum=True,
        )  # fmt: skip
        self.method = method_named(method, self.course, options)
        self.phases = Phases(self.course, self.method)

        self.clock: Clock | None = None  # the last epoch that is over
        self._running: Clock | None = None
        self._walk: object = None  # the iterator over epochs that has begun one last
        self.scheduler: LRScheduler | None = None
        self.previous: Values = {}
        self.kept: Values = {}
        self.rows: list[dict[str, float]] = []
        self.masks = Masks(model, {})
        self.teacher: Teacher | None = None
        self._losses: list[Tensor] = []
        self.groups = RuledGroups(model, optimizer, threshold, example)
        rehearse(self.method, self.course, self.groups, self._view, self.begun)

    def epochs(self) -> Iterator[Clock]:
        """The epochs that are left, each begun as the method says; it ends as the next is asked for.

        After the last, and where the loop is left before, the optimizer and the model are their owner's again: no rule
        changes a step, nothing is frozen, no mask holds. An iterator that is kept lets go as it is closed, or as
        another begins an epoch of that optimizer or network.
        """
        walk = object()
        try:
            for clock in self.course.clocks(after=self.clock):
                self._walk = walk
                self._begin(clock)
                self._running = clock
                yield clock
                self._end()
        finally:
            if self._walk is walk:
                self._let_go()

    def loss(self, x: Tensor, logits: Tensor, of_labels: Tensor) -> Tensor:
        """The loss of a step: `of_labels`, the labels' mean loss, or what a teacher makes of inputs x and logits.

        `ban`, `ban_labels` and `sagd` need it: an epoch of theirs without a call ends in a ValueError.
        """
        loss = of_labels if self.teacher is None else self.teacher.loss(x, logits, of_labels)
        self._losses.append(loss.detach())
        return loss

    def state_dict(self) -> dict[str, Any]:
        """What an interrupted training needs beside the model's and the optimizer's; it ends the epoch that runs.

        Raises ValueError where that epoch needs `loss` and has not called it.
        """
        self._end()
        return {
            "choices": self.choices,
            "clock": None if self.clock is None else (self.clock.generation, self.clock.epoch),
            "rows": list(self.rows),
            "tensors": {"previous": self.previous, "kept": self.kept, "alive": self.masks.alive, "begun": self.begun},
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "first_rates": self.first_rates,
            "groups": [numbers_of(group) for group in self.optimizer.param_groups],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; the model's and the optimizer's are loaded before. Raises ValueError for the state of
        another method, with other numbers, or of an older version."""
        theirs = state.get("choices", {})
        for name, value in self.choices.items():
            if theirs.get(name) != value:
                raise ValueError(
                    f"found a state of {name} {theirs.get(name)}, expected {value}: begin as it did, or anew"
                )

        self._let_go()
        self._running, self._losses = None, []
        self.clock = None if state["clock"] is None else Clock(*state["clock"])
        self.rows, self.first_rates = list(state["rows"]), [float(rate) for rate in state["first_rates"]]

        tensors = state["tensors"]
        self.previous, self.kept, self.begun = tensors["previous"], tensors["kept"], tensors["begun"]
        self.masks = Masks(self.model, tensors["alive"])
        if self.schedule is not None and state["scheduler"] is not None:
            self.scheduler = self._new_scheduler(self.schedule)
            self.scheduler.load_state_dict(state["scheduler"])
            for group, numbers in zip(self.optimizer.param_groups, state["groups"], strict=True):
                put_numbers(group, numbers)  # over those that making it has set, as OneCycleLR does momentum

    def _begin(self, clock: Clock) -> None:
        """The steps of `Trainer.begin_epoch`, beside an owner's schedule and of what it has not frozen."""
        for owned in (self.optimizer, self.model):
            leader = LEADERS.get(owned, ref(self))()
            if leader not in (None, self):
                leader._let_go()
            LEADERS[owned] = ref(self)
        self._losses = []

        self.groups.thaw()
        self.model.train()
        self.groups.look()
        network = self._view(clock, self.kept)
        self.masks.release()
        self.masks = Masks(self.model, self.method.alive(clock, network))
        held = frozen_by_owner(self.model)
        forgotten = {name: value for name, value in self.method.forget(clock, network).items() if name not in held}
        put(self.model, forgotten)
        if self.schedule is not None and clock.epoch == 0:
            self.scheduler = self._new_scheduler(self.schedule)

        if self.phases.clears_momentum(clock, forgot=bool(forgotten)):
            self.optimizer.reset_momentum()
        self.masks.cut(self.optimizer)
        self.masks.hook()

        lesson = self.method.lesson(clock)
        self.teacher = None if lesson is None else Teacher(self.model, self.previous, lesson)
        coins = stream(self.course.seed, "toss", clock.generation, clock.epoch)
        self.groups.begin(self.method.rules(clock), self.method.toss(clock, self.rows), coins)

    def _view(self, clock: Clock, kept: Values) -> NetworkView:
        """What the method may look at as that epoch begins."""
        return FittingView(
            trained(self.groups.sides), lambda names: self._drawn(names, clock), lambda: self.begun, kept,
            self.masks.alive, method=self.name, model=self.model, head=self.groups.head,
        )  # fmt: skip

    def _let_go(self) -> None:
        self.groups.let_go()
        self.masks.release()

    def _end(self) -> None:
        if self._running is None:
            return

        self.groups.put_back()
        if not self._losses and (self.teacher is not None or self.groups.toss is not None):
            raise ValueError(
                f"{self.name} goes by the losses that `forgetting.loss` is given, and generation "
                f"{self._running.generation}, epoch {self._running.epoch} gave none: call it in each step"
            )

        self.clock = clock = self._running
        self._running = None
        if self._losses:
            self.rows.append({"train_loss": float(torch.stack(self._losses).mean())})
            self._losses = []
        if self.scheduler is not None:
            self.scheduler.step()

        # As loop.look_back.
        if self.method.keeps(clock):
            self.kept = _copied(self.model)
        if self.method.looks_back and self.phases.ends_generation(clock):
            self.previous = _copied(self.model)

    def _new_scheduler(self, schedule: Callable[[SignedSGD], LRScheduler]) -> LRScheduler:
        """From the first rates on; a group that was added since keeps its own."""
        for group, rate in zip(self.optimizer.param_groups, self.first_rates, strict=False):
            put_numbers(group, {"lr": rate})
            group.pop("initial_lr", None)

        scheduler = schedule(self.optimizer)
        check_schedule(scheduler)
        return scheduler

    def _drawn(self, names: Iterable[str], clock: Clock) -> Values:
        """Of a new network: the named parameters, and the statistics of a normalisation whose scale is among them."""
        if self.fresh is None:
            raise ValueError(f"{self.name} draws values anew: give `fresh`, a function that builds such a network")

        generator = stream(self.course.seed, "reinitialisation", clock.generation)
        with torch_drawing_from(generator):
            state = self.fresh().state_dict()
        return drawn_of(self.name, self.model, state, names)


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
