"""A method in one's own loop, interrupted: what a state holds, whose it is, and what the steps must have told."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR, CyclicLR, LRScheduler, OneCycleLR
from torch.utils._pytree import tree_flatten

from seal import Forgetting, SignedSGD, split_parameters
from seal.clock import Clock
from seal.methods import METHODS
from seal.rng import stream
from tests.small import loop_options

E, G = 3, 3
TOLD = ("ban", "ban_labels", "sagd")  # whose steps go by `forgetting.loss`
SCHEDULES: dict[str, Callable[[SignedSGD], LRScheduler] | None] = {
    "none": None,
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, E),
    "one cycle": lambda optimizer: OneCycleLR(optimizer, 0.1, total_steps=E),
    "cyclic": lambda optimizer: CyclicLR(optimizer, 0.01, 0.1, step_size_up=2),
}


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))


def begun(
    method: str, schedule: str = "none", *, threshold: str = "3", generations: int = G, epochs: int = E, seed: int = 0,
    **changes: Any,
) -> Forgetting:  # fmt: skip
    torch.manual_seed(0)
    model = network()
    sides = split_parameters(model, threshold)
    optimizer = SignedSGD([{"params": list(side.values())} for side in (sides.early, sides.late)], 0.05, 0.9, 1e-3)
    numbers = loop_options(method) | ({"reverse_fc": "ascends"} if method == "seal_reverse" else {}) | changes
    return Forgetting(
        method, model, optimizer, threshold, generations=generations, epochs=epochs, seed=seed, fresh=network,
        schedule=SCHEDULES[schedule], **numbers,
    )  # fmt: skip


def train(forgetting: Forgetting, until: Clock | None = None, told: bool = True) -> None:
    for clock in forgetting.epochs():
        x, y = torch.randn(6, 4, generator=stream(clock.epoch, "x")), torch.arange(6) % 3
        forgetting.optimizer.zero_grad()
        logits = forgetting.model(x)
        loss = cross_entropy(logits, y)
        (forgetting.loss(x, logits, loss) if told else loss).backward()  # type: ignore[no-untyped-call]
        forgetting.optimizer.step()
        if clock == until:
            return


def numbers(forgetting: Forgetting) -> list[dict[str, Any]]:
    return [{key: group[key] for key in group if key != "params"} for group in forgetting.optimizer.param_groups]


def same(tree: object, expected: object) -> bool:
    """Whether two nests of values and tensors are alike, to the bit."""
    (values, layout), (others, other_layout) = tree_flatten(tree), tree_flatten(expected)
    if layout != other_layout:
        return False

    for value, other in zip(values, others, strict=True):
        equal = torch.equal(value, other) if isinstance(value, Tensor) else value == other
        if not equal:
            return False
    return True


@pytest.mark.parametrize("optimizer_first", [False, True])
@pytest.mark.parametrize("until", [Clock(1, 0), Clock(1, E - 1), Clock(2, 1)], ids=["early", "at an end", "within"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("method", ["seal", "ban_labels", "sagd"])
def test_a_resumed_loop_has_the_bits_and_numbers_of_a_whole_one(
    method: str, schedule: str, until: Clock, optimizer_first: bool
) -> None:
    """Also where the schedule sets more of a group than its rate, and whichever state is taken first."""
    whole = begun(method, schedule)
    train(whole)

    first = begun(method, schedule)
    train(first, until)
    of_optimizer = copy.deepcopy(first.optimizer.state_dict())
    state = first.state_dict()
    if not optimizer_first:
        of_optimizer = first.optimizer.state_dict()
    parts = copy.deepcopy((first.model.state_dict(), of_optimizer, state))
    at_the_break = copy.deepcopy(numbers(first))

    second = begun(method, schedule)
    second.model.load_state_dict(parts[0])
    second.optimizer.load_state_dict(parts[1])
    second.load_state_dict(parts[2])
    assert numbers(second) == at_the_break
    train(second)
    assert second.rows == whole.rows
    assert same(second.model.state_dict(), whole.model.state_dict())
    assert numbers(second) == numbers(whole)


@pytest.mark.parametrize("schedule", ["cosine", "one cycle"])
@pytest.mark.parametrize("method", METHODS)
def test_a_state_that_is_kept_stays_as_it_was_taken(method: str, schedule: str) -> None:
    forgetting = begun(method, schedule)
    train(forgetting, Clock(2, 0))
    state = forgetting.state_dict()
    before = copy.deepcopy(state)
    train(forgetting)
    assert same(state, before)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "seal_reinit"}, "method seal, expected seal_reinit"),
        ({"ascent_lr_scale": 0.125}, r"ascent_lr_scale \S+, expected 0.125"),
        ({"ascent_weight_decay": "off"}, r"ascent_weight_decay \S+, expected off"),
        ({"epochs": 2}, "epochs 3, expected 2"),
        ({"seed": 1}, "seed 0, expected 1"),
        ({"threshold": "5"}, "threshold 3, expected 5"),
    ],
)
def test_a_state_of_another_training_is_refused(changes: dict[str, Any], words: str) -> None:
    first = begun("seal")
    train(first, Clock(2, 0))
    second = begun(**{"method": "seal"} | changes)
    with pytest.raises(ValueError, match=rf"^found a state of {words}: begin as it did, or anew$"):
        second.load_state_dict(first.state_dict())
    assert second.clock is None


def test_a_state_of_an_older_version_is_refused_and_more_generations_are_not() -> None:
    first = begun("seal")
    train(first)
    state = first.state_dict()
    longer = begun("seal", generations=G + 1)
    longer.load_state_dict(state)
    assert [*longer.course.clocks(after=longer.clock)] == [Clock(G + 1, epoch) for epoch in range(E)]

    del state["choices"]
    with pytest.raises(ValueError, match=r"^found a state of method None, expected seal: begin"):
        begun("seal").load_state_dict(state)


@pytest.mark.parametrize("method", METHODS)
def test_an_epoch_whose_losses_nobody_has_told_is_an_error_where_the_method_goes_by_them(method: str) -> None:
    forgetting = begun(method)
    if method not in TOLD:
        train(forgetting, told=False)
        assert forgetting.clock == Clock(G, E - 1)
        return

    generation = 1 if method == "sagd" else 2
    words = rf"^{method} goes by the losses .*, and generation {generation}, epoch 0 gave none: call it in each step$"
    with pytest.raises(ValueError, match=words):
        train(forgetting, told=False)
    assert not forgetting.groups._hooks, "the optimizer is its owner's"


def test_the_schedule_goes_on_from_the_groups_own_rates_after_a_last_step_that_raised() -> None:
    """Not from those of the rule that the step followed."""
    rates: list[list[list[float]]] = []
    for raises in (False, True):
        forgetting = begun("seal", "cosine", ascent_lr_scale=0.5)
        seen = []
        for _ in forgetting.epochs():
            seen.append([group["lr"] for group in forgetting.optimizer.param_groups])
            forgetting.optimizer.step()
            if raises:
                with pytest.raises(torch.OutOfMemoryError):
                    forgetting.optimizer.step(out_of_memory)
        rates.append(seen)
    assert rates[0] == rates[1]


def out_of_memory() -> float:
    raise torch.OutOfMemoryError
