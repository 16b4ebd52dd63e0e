"""Every step of a whole run, by each version from the same state: phases, resets, exchanged and cleared states.

The run is the harshest of the small ones: batches of 8, and of 2 at an epoch's end, over one position in the last
block, where BatchNorm all but switches sign. A rounding decides where it ends, so steps are compared one by one. Of 300
runs of two generations, from seed 0's weights each one ulp up or down, the reference ends 6 at a validation loss above
100, the largest 1.1e6, and `compiled`, a version that is no more, 4, the largest 3.3e5; medians 1.330 and 1.335.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from seal.optim import SignedSGD
from seal.rng import stream
from seal.trainer import Trainer
from tests.small import CPU, small_data, small_run
from tests.tolerances import FORMATS, SIGNED_STEP_ROUNDINGS, SIGNED_STEP_UNDERFLOWS

pytestmark = pytest.mark.numerical

GENERATIONS = 10  # of 12 steps, the first 4 an ascent but in generation 1
FLOAT32 = FORMATS[torch.float32]
RELATIVE = SIGNED_STEP_ROUNDINGS * FLOAT32.unit_roundoff
ABSOLUTE = SIGNED_STEP_UNDERFLOWS * FLOAT32.smallest


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.detach().reshape(-1).double() for t in tensors])


def momentum(optimizer: SignedSGD, group: int) -> list[Tensor]:
    """The group's buffers, those not there yet as zeros."""
    params = optimizer.param_groups[group]["params"]
    found = [optimizer.state[p].get("momentum_buffer") for p in params]
    return [torch.zeros_like(p) if m is None else m for p, m in zip(params, found, strict=True)]


def put_in_the_state_of(leader: Trainer, follower: Trainer, step: int) -> None:
    """The leader's weights, gradients and momentum; numbers of groups stay as the follower's own phase set them."""
    theirs, ours = leader.optimizer, follower.optimizer
    if step % 7 == 3:
        ours.load_state_dict(deepcopy(theirs.state_dict()))
    for i, group in enumerate(theirs.param_groups):
        for p, q in zip(group["params"], ours.param_groups[i]["params"], strict=True):
            q.data.copy_(p.data)
            q.grad = p.grad.clone()
            if q.ndim == 4 and step % 3 == 1:  # gradients that lie otherwise than their parameters
                other = torch.contiguous_format if follower.run.training.channels_last else torch.channels_last
                q.grad = q.grad.contiguous(memory_format=other)
            if theirs.state[p]:
                ours.state[q]["momentum_buffer"].copy_(theirs.state[p]["momentum_buffer"])


def exact_step(optimizer: SignedSGD, group: int) -> list[Tensor]:
    """p' and m' in float64, exact for float32, and the sums of magnitudes that their errors are measured against."""
    numbers = optimizer.param_groups[group]
    lr, mu, wd = numbers["lr"], numbers["momentum"], numbers["weight_decay"]
    p, g = flat(numbers["params"]), flat([p.grad for p in numbers["params"]])
    m = flat(momentum(optimizer, group))
    new_m = mu * m + (-g if numbers["maximize"] else g) + wd * p
    size = mu * m.abs() + g.abs() + abs(wd) * p.abs()
    return [p - lr * new_m, new_m, p.abs() + lr * size, size]


def states_before_each_step(leader: Trainer, followers: Sequence[Trainer]) -> Iterator[int]:
    """A whole run of the leader's; at each step, with gradients there, all are in its state and none has stepped."""
    step = 0
    for clock in leader.course.clocks():
        for trainer in (leader, *followers):
            trainer.begin_epoch(clock)
        if leader.phases.clears_momentum(clock, forgot=False):
            assert not any(m.any() for trainer in (leader, *followers) for m in buffers(trainer))
        if clock.generation % 3 == 0 and clock.epoch == 1:
            for trainer in (leader, *followers):
                trainer.optimizer.state.clear()
        order, augmentation = (stream(step, purpose) for purpose in ("order", "augmentation"))
        for x, y in leader.data.train.epoch(order, augmentation):
            leader.optimizer.zero_grad()
            leader.objective(leader.model, x, y)[0].backward()
            for trainer in followers:
                put_in_the_state_of(leader, trainer, step)
            yield step
            step += 1


def buffers(trainer: Trainer) -> list[Tensor]:
    return [m for group in range(len(trainer.optimizer.param_groups)) for m in momentum(trainer.optimizer, group)]


@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("backend", ["cpu"])
def test_every_step_of_a_run_is_within_six_roundings_of_the_exact_one(backend: str, channels_last: bool) -> None:
    run = small_run("seal", num_generations=GENERATIONS, channels_last=channels_last, batch_size=8)
    leader, follower = (Trainer(run, small_data(run), CPU, name) for name in ("reference", backend))
    signs = []
    for step in states_before_each_step(leader, [follower]):
        optimizers = leader.optimizer, follower.optimizer
        groups = range(len(leader.optimizer.param_groups))
        expected = [exact_step(leader.optimizer, group) for group in groups]
        assert all(values.isfinite().all() for group in expected for values in group)
        for optimizer in optimizers:
            optimizer.step()
            for group, (p, m, size_p, size_m) in enumerate(expected):
                errors = (flat(optimizer.param_groups[group]["params"]) - p).abs()
                assert (errors <= RELATIVE * size_p + ABSOLUTE).all(), f"{optimizer.backend}, step {step}"
                errors = (flat(momentum(optimizer, group)) - m).abs()
                assert (errors <= RELATIVE * size_m + ABSOLUTE).all(), f"{optimizer.backend}, step {step}"
        signs.append(leader.optimizer.param_groups[0]["maximize"])
    assert (len(signs), sum(signs)) == (12 * GENERATIONS, 4 * (GENERATIONS - 1))
    assert (leader.optimizer.backend, follower.optimizer.backend) == ("reference", backend)


def test_the_reference_takes_the_same_way_twice() -> None:
    """From weights one ulp off it takes another: 1e-4 of their size away after a step, 1e-2 at the end. So no test
    compares where another backend's runs end."""

    def path() -> list[Tensor]:
        run = small_run("seal", batch_size=8)
        trainer = Trainer(run, small_data(run), CPU, "reference")
        found: list[Tensor] = []
        for clock in trainer.course.clocks():
            trainer.begin_epoch(clock)
            trainer.train_epoch(clock, lambda *_: found.append(flat(list(trainer.model.parameters()))))
        return found

    assert all(torch.equal(a, b) for a, b in zip(path(), path(), strict=True))
