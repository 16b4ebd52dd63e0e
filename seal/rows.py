"""What a row of history.csv says of an epoch, and summary.json of a generation's end; measuring changes nothing.

The loop in loop.py asks after each epoch; the pilot's benchmark too.
"""

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from seal.batchnorm import batch_statistics, running_statistics
from seal.checkpoint import State, Tensors
from seal.clock import Clock, global_epoch
from seal.phases import phase_of
from seal.record import Row
from seal.rng import stream
from seal.rules import Rules
from seal.steps import climbing_steps
from seal.trainer import Trainer

COPIED = ("train_", "val_", "clean_", "norm_")  # of an epoch's columns, into the outcome of the generation it ends


def describe(trainer: Trainer, clock: Clock, rules: Rules) -> Row:
    """What is known of an epoch beside its losses: the clock, and each side's rate, sign and norm."""
    rate = trainer.course.rate(clock)
    row: Row = {
        "generation": clock.generation,
        "epoch": clock.epoch,
        "global_epoch": global_epoch(clock, trainer.course.epochs),
        "phase": phase_of(rules),
    }

    for side, rule, parameters in (
        ("early", rules["early"], trainer.sides.early),
        ("late", rules["late"], trainer.sides.late),
    ):
        row[f"lr_{side}"] = 0.0 if rule.frozen else rate * rule.lr_scale
        row[f"sign_{side}"] = 0 if rule.frozen else -1 if rule.maximize else 1
        row[f"norm_{side}"] = _norm(parameters)
    return row


def measured(trainer: Trainer, clock: Clock) -> Row:
    """Validation images after every epoch, where there are any; clean training images where a phase ends."""
    row = measure_clean(trainer, clock) if trainer.phases.ends(clock) else {}
    return row | measure_validation(trainer)


def measure_clean(trainer: Trainer, clock: Clock) -> Row:
    """Loss and accuracy on the training images without augmentation, by running and by batch statistics.

    Running statistics lag behind while weights move fast; both are reported. The order is shuffled, because the
    packed order would give batches of a single class.
    """
    row: Row = {}
    for suffix, statistics in (("", running_statistics), ("_batch_statistics", batch_statistics)):
        generator = stream(trainer.run.seed, "clean", clock.generation, clock.epoch)
        with statistics(trainer.model):
            loss, right = trainer.objective.measure(trainer.model, trainer.data.clean.epoch(generator, generator))
        row |= {f"clean_loss{suffix}": loss, f"clean_accuracy{suffix}": _share(right)}
    return row


def measure_validation(trainer: Trainer) -> Row:
    """Loss and accuracy on the validation images; nothing where there are none."""
    if not len(trainer.data.val):
        return {}

    with running_statistics(trainer.model):
        loss, right = trainer.objective.measure(trainer.model, trainer.data.val.clean())
    return {"val_loss": loss, "val_accuracy": _share(right)}


def shortened(row: Row) -> Row:
    """Floats to six digits, as the record has them."""
    short: Row = {}
    for key, value in row.items():
        short[key] = float(f"{value:.6g}") if isinstance(value, float) else value
    return short


def outcome(trainer: Trainer, state: State) -> tuple[dict[str, Any], Tensors, Tensor]:
    """Read the test images, once: with the last weights, and with those best on the validation images, if any.

    Gives the generation's outcome; and the weights that stand for it (`checkpoint`), with the test images that they
    have right (bool [N], in packed order).
    """
    batches, row = trainer.data.test, state.rows[-1]
    with running_statistics(trainer.model):
        loss, right = trainer.objective.measure(trainer.model, batches.clean())

    result = {"generation": row["generation"], "global_epoch": row["global_epoch"]}
    result |= {key: value for key, value in row.items() if key.startswith(COPIED)}
    result |= {"test_loss": loss, "test_accuracy": _share(right), "best": None} | changed(trainer, state)
    if state.best_epoch is None:
        return result, state.model, right

    best = {name: value.to(trainer.device) for name, value in state.best.items()}
    with running_statistics(trainer.model):
        _, best_right = trainer.objective.measure(lambda x: functional_call(trainer.model, best, (x,)), batches.clean())
    result["best"] = state.best_epoch | {"test_accuracy": _share(best_right)}

    if trainer.run.generations.checkpoint == "best":
        return result, best, best_right
    return result, state.model, right


def changed(trainer: Trainer, state: State) -> dict[str, Any]:
    """What the method did to the network in the generation that ends, of what its answers ask for.

    `moved_<side>`: L2 distance from the last generation's end. `live_weights`: of those that a mask takes, and their
    share. `climbing_share`, of the generation's steps.
    """
    facts: dict[str, Any] = {}
    if state.previous:
        for side, parameters in (("early", trainer.sides.early), ("late", trainer.sides.late)):
            facts[f"moved_{side}"] = _distance(parameters, state.previous)

    masks = trainer.masks.alive.values()
    if masks:
        facts["live_weights"] = sum(int(mask.sum()) for mask in masks)
        facts["live_share"] = facts["live_weights"] / sum(mask.numel() for mask in masks)

    if trainer.toss is not None:
        facts["climbing_share"] = _climbing_share(trainer, state)
    return facts


def _climbing_share(trainer: Trainer, state: State) -> float:
    """By the coins of the generation's epochs, which the history's rows give again."""
    generation, steps = int(state.rows[-1]["generation"]), len(trainer.data.train)
    coins: list[bool] = []
    for epoch in range(trainer.course.epochs):
        clock = Clock(generation, epoch)
        toss = trainer.method.toss(clock, state.rows[: global_epoch(clock, trainer.course.epochs)])
        coins += climbing_steps(trainer.course, toss, clock, steps)
    return sum(coins) / len(coins)


def _distance(parameters: dict[str, torch.nn.Parameter], earlier: Tensors) -> float:
    squares = []
    for name, value in parameters.items():
        moved = value.detach().double() - earlier[name].to(value.device).double()
        squares.append(moved.square().sum())
    return float(torch.stack(squares).sum().sqrt())


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def _norm(parameters: dict[str, torch.nn.Parameter]) -> float:
    squares = [value.detach().double().square().sum() for value in parameters.values()]
    return float(torch.stack(squares).sum().sqrt())
