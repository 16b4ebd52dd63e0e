"""A method in other people's loops: networks, schedules, scalers and groups that are not ours."""

import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from seal import Forgetting, SignedSGD, split_parameters
from seal.clock import Clock
from seal.methods import METHODS
from seal.rng import stream, torch_drawing_from
from tests.small import loop_options

E, G = 2, 2


def mobilenet() -> nn.Module:
    return torchvision.models.mobilenet_v3_small(num_classes=3, width_mult=0.25)


def transformer() -> nn.Module:
    return torchvision.models.VisionTransformer(
        image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "mobilenet": (mobilenet, "features.6"),
    "transformer": (transformer, "encoder.layers.encoder_layer_1.self_attention"),
}


def begin(network: str, **groups: Any) -> tuple[nn.Module, SignedSGD, str, Callable[[], nn.Module]]:
    make, threshold = NETWORKS[network]
    torch.manual_seed(0)
    model = make()
    sides = split_parameters(model, threshold)
    halves = [{"params": list(side.values())} for side in (sides.early, sides.late)]
    return model, SignedSGD(halves, 0.05, 0.9, 1e-4, **groups), threshold, make


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = stream(0, "batches")
    return [(torch.randn(6, 3, 16, 16, generator=generator), torch.arange(6) % 3) for _ in range(2)]


def train(forgetting: Forgetting, model: nn.Module, optimizer: SignedSGD, until: Clock | None = None) -> None:
    for clock in forgetting.epochs():
        torch.manual_seed(clock.generation * 10 + clock.epoch)  # of dropout
        for x, y in batches():
            optimizer.zero_grad()
            logits = model(x)
            forgetting.loss(x, logits, cross_entropy(logits, y)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
        if clock == until:
            break


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_a_network_that_is_not_ours(network: str, method: str) -> None:
    model, optimizer, threshold, make = begin(network)
    keys = list(model.state_dict())
    forgetting = Forgetting(
        method, model, optimizer, threshold, generations=G, epochs=E, fresh=make,
        schedule=lambda optimizer: CosineAnnealingLR(optimizer, E), **loop_options(method),
    )  # fmt: skip
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(forgetting, model, optimizer)

    assert forgetting.clock == Clock(G, E - 1)
    assert list(model.state_dict()) == keys, "the stock layout"
    make().load_state_dict(model.state_dict())
    assert all(value.isfinite().all() for value in model.parameters())
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(not group["maximize"] for group in optimizer.param_groups), "numbers of groups stay their owner's"
    for name, mask in forgetting.masks.alive.items():
        assert not model.state_dict()[name][~mask].any(), name


@pytest.mark.parametrize(
    ("method", "until"),
    [
        ("seal", Clock(2, 0)), ("imp", Clock(1, E - 1)), ("imp", Clock(3, 0)), ("ban_labels", Clock(2, 0)),
        ("shrink_perturb", Clock(1, E - 1)), ("sagd", Clock(2, 0)), ("llf", Clock(2, E - 1)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("abandoned", [None, Clock(3, 0)], ids=["anew", "after another training"])
def test_a_loop_that_was_interrupted_goes_on_with_the_same_bits(
    method: str, until: Clock, abandoned: Clock | None
) -> None:
    def build() -> tuple[Forgetting, nn.Module, SignedSGD]:
        model, optimizer, threshold, make = begin("mobilenet")
        forgetting = Forgetting(
            method, model, optimizer, threshold, generations=3, epochs=E, fresh=make,
            schedule=lambda optimizer: CosineAnnealingLR(optimizer, E), **loop_options(method),
        )  # fmt: skip
        return forgetting, model, optimizer

    whole, model, optimizer = build()
    train(whole, model, optimizer)

    first, half, stepped = build()
    train(first, half, stepped, until=until)
    parts = first.state_dict(), half.state_dict(), stepped.state_dict()

    second, model_again, optimizer_again = build()
    if abandoned is not None:
        train(second, model_again, optimizer_again, until=abandoned)
    model_again.load_state_dict(parts[1])
    optimizer_again.load_state_dict(parts[2])
    second.load_state_dict(parts[0])
    train(second, model_again, optimizer_again)
    assert second.rows == whole.rows
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in model_again.state_dict().items())


def test_llf_draws_the_late_weights_of_a_fresh_network_and_touches_nothing_else() -> None:
    model, optimizer, threshold, make = begin("mobilenet")
    forgetting = Forgetting(
        "llf", model, optimizer, threshold, generations=2, epochs=1, fresh=make, llf_reinitialises="weights"
    )
    clocks = forgetting.epochs()
    next(clocks)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    next(clocks)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    late = split_parameters(model, threshold).late
    assert changed == {name for name, value in late.items() if value.ndim > 1}


def test_a_schedule_of_ones_own_sees_its_own_rates() -> None:
    model, optimizer, threshold, _ = begin("mobilenet")
    twin = SignedSGD([nn.Parameter(torch.zeros(1))], 0.05, 0.9)
    ours, theirs = (OneCycleLR(o, 0.1, total_steps=E * G * 2, cycle_momentum=False) for o in (optimizer, twin))
    forgetting = Forgetting("seal", model, optimizer, threshold, generations=G, epochs=E, **loop_options("seal"))
    for _ in forgetting.epochs():
        for x, y in batches():
            optimizer.zero_grad()
            forgetting.loss(x, model(x), cross_entropy(model(x), y)).backward()
            optimizer.step()
            twin.step()
            ours.step()
            theirs.step()
            assert {group["lr"] for group in optimizer.param_groups} == {twin.param_groups[0]["lr"]}


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("rate", [0.125, torch.tensor(0.125), torch.tensor([0.125])], ids=["float", "0-d", "1-d"])
def test_each_generation_begins_at_the_first_rate(rate: float | Tensor, resumed: bool) -> None:
    def build() -> tuple[Forgetting, SignedSGD]:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        optimizer = SignedSGD(model.parameters(), rate.clone() if isinstance(rate, Tensor) else rate)
        forgetting = Forgetting(
            "normal_long", model, optimizer, "1", generations=3, epochs=2,
            schedule=lambda optimizer: CosineAnnealingLR(optimizer, 2),
        )  # fmt: skip
        return forgetting, optimizer

    forgetting, optimizer = build()
    rates = []
    for clock in forgetting.epochs():
        optimizer.step()
        rates.append(float(optimizer.param_groups[0]["lr"]))
        if resumed and clock == Clock(2, 0):
            break

    if resumed:
        parts = forgetting.state_dict(), optimizer.state_dict()
        forgetting, optimizer = build()
        optimizer.load_state_dict(parts[1])
        forgetting.load_state_dict(parts[0])
        for _ in forgetting.epochs():
            optimizer.step()
            rates.append(float(optimizer.param_groups[0]["lr"]))
    assert rates == pytest.approx([0.125, 0.0625] * 3)
    assert type(optimizer.param_groups[0]["lr"]) is type(rate)


def test_the_early_side_climbs_at_its_scale_of_the_groups_rate_and_decay() -> None:
    model, optimizer, threshold, _ = begin("mobilenet", backend="reference")
    numbers = loop_options("seal") | {"ascent_lr_scale": 0.5}
    forgetting = Forgetting("seal", model, optimizer, threshold, generations=2, epochs=2, **numbers)
    clocks = forgetting.epochs()
    for _ in range(3):
        next(clocks)
    sides = split_parameters(model, threshold)
    first, last = next(iter(sides.early.values())), next(iter(sides.late.values()))
    before = [value.detach().clone() for value in (first, last)]
    for value in (first, last):
        value.grad = torch.ones_like(value)
    optimizer.step()
    torch.testing.assert_close(first.detach(), before[0] - 0.5 * 0.05 * (-1 + 1e-4 * before[0]))
    torch.testing.assert_close(last.detach(), before[1] - 0.05 * (1 + 1e-4 * before[1]))


def numbers_seen(optimizer: SignedSGD) -> list[tuple[float, float, bool]]:
    return [(group["lr"], group["weight_decay"], group["maximize"]) for group in optimizer.param_groups]


@pytest.mark.parametrize("at", range(E * G))
@pytest.mark.parametrize("method", ["seal", "seal_freeze", "sagd"])
def test_a_step_that_raises_leaves_the_later_ones_as_they_would_have_been(method: str, at: int) -> None:
    """A closure runs out of memory, and the loop goes on with the next batch."""
    model, optimizer, threshold, _ = begin("mobilenet")
    own = numbers_seen(optimizer)
    forgetting = Forgetting(method, model, optimizer, threshold, generations=G, epochs=E, **loop_options(method))

    def out_of_memory() -> float:
        raise torch.OutOfMemoryError

    seen: list[list[tuple[float, float, bool]]] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(numbers_seen(optimizer)))
    for number, _ in enumerate(forgetting.epochs()):
        if number == at:
            with pytest.raises(torch.OutOfMemoryError):
                optimizer.step(out_of_memory)
        forgetting.loss(torch.zeros(1), torch.zeros(1), torch.zeros(()))
        optimizer.step()
        assert numbers_seen(optimizer) == own

    if method != "sagd":  # which tosses a coin a step
        assert seen[at] == seen[at + 1], "the epoch's next step follows the same rules"


def test_steps_before_the_first_epoch_are_the_optimizers_own() -> None:
    model, optimizer, threshold, _ = begin("mobilenet")
    Forgetting("seal", model, optimizer, threshold, generations=G, epochs=E, **loop_options("seal"))
    weight = next(iter(model.parameters()))
    before = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before - 0.05 * (1 + 1e-4 * before))


def test_a_scaler_shared_parameters_later_groups_and_parameters_without_gradient() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(8, 8)
            self.middle = nn.Linear(8, 8)
            self.middle.weight = self.body.weight  # one parameter, at two places
            self.head = nn.Linear(8, 3)
            self.still = nn.Parameter(torch.ones(3), requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.middle(self.body(x).relu())) * self.still

    torch.manual_seed(0)
    model = Tied()
    sides = split_parameters(model, "head")
    optimizer = SignedSGD([{"params": list(side.values())} for side in (sides.early, sides.late)], 0.01, 0.9)
    forgetting = Forgetting(
        "imp", model, optimizer, "head", generations=3, epochs=2, fresh=Tied, pruned_share=0.5, rewound_share=0.0
    )
    scale = nn.Parameter(torch.ones(1))  # of the loss, none of the model's
    scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
    for clock in forgetting.epochs():
        if clock == Clock(1, 1):
            optimizer.add_param_group({"params": [scale]})
        for seed in range(2):
            x = torch.randn(4, 8, generator=stream(seed, "x"))
            optimizer.zero_grad()
            logits = model(x)
            loss = forgetting.loss(x, logits, cross_entropy(logits * scale, torch.arange(4) % 3))
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        for name, mask in forgetting.masks.alive.items():
            assert not model.state_dict()[name][~mask].any()
            gradient = model.get_parameter(name).grad
            assert gradient is not None
            assert not gradient[~mask].any(), "so that clipping sees what lives"
    assert torch.equal(model.still, torch.ones(3))
    assert not model.still.requires_grad
    assert not torch.equal(scale, torch.ones(1))
    assert sum(int(mask.sum()) for mask in forgetting.masks.alive.values()) == round(0.25 * (64 + 24))
    assert model.middle.weight is model.body.weight


def test_a_frozen_side_stands_still_and_is_let_go() -> None:
    model, optimizer, threshold, _ = begin("mobilenet")
    forgetting = Forgetting(
        "seal_freeze", model, optimizer, threshold, generations=2, epochs=2, **loop_options("seal_freeze")
    )
    late = split_parameters(model, threshold).late
    for clock in forgetting.epochs():
        before = {name: value.detach().clone() for name, value in late.items()}
        for x, y in batches():
            optimizer.zero_grad()
            logits = model(x)
            forgetting.loss(x, logits, cross_entropy(logits, y)).backward()
            optimizer.step()
        stood = all(torch.equal(value, before[name]) for name, value in late.items())
        assert stood == (clock == Clock(2, 0))


@pytest.mark.parametrize("statistics", ["hold", "move"])
def test_a_frozen_sides_statistics_are_held_whenever_the_loop_asks_for_training_mode(statistics: str) -> None:
    model, optimizer, threshold, _ = begin("mobilenet")
    numbers = loop_options("seal_freeze") | {"frozen_statistics": statistics}
    forgetting = Forgetting("seal_freeze", model, optimizer, threshold, generations=2, epochs=2, **numbers)
    late = [name for name, _ in model.named_buffers() if int(name.split(".")[1]) > 6 and name.endswith("running_mean")]
    assert late
    for clock in forgetting.epochs():
        before = {name: model.get_buffer(name).clone() for name in late}
        model.eval()
        model(batches()[0][0])
        model.train()
        optimizer.zero_grad()
        logits = model(batches()[0][0])
        forgetting.loss(batches()[0][0], logits, cross_entropy(logits, batches()[0][1])).backward()
        optimizer.step()
        held = all(torch.equal(model.get_buffer(name), before[name]) for name in late)
        assert held == (statistics == "hold" and clock == Clock(2, 0))


def test_what_the_last_epoch_froze_is_let_go_at_the_end() -> None:
    model, optimizer, threshold, _ = begin("mobilenet")
    numbers = loop_options("seal_freeze") | {"frozen_statistics": "hold", "ascent_epochs": 1}
    forgetting = Forgetting("seal_freeze", model, optimizer, threshold, generations=2, epochs=1, **numbers)
    train(forgetting, model, optimizer)
    assert all(value.requires_grad for value in model.parameters())
    before = {name: value.clone() for name, value in model.named_buffers()}
    model.train()
    model(batches()[0][0])
    assert not any(torch.equal(value, before[name]) for name, value in model.named_buffers())


def sparse_then_dense() -> tuple[Forgetting, nn.Module, SignedSGD, Callable[[], Forgetting]]:
    """In its third generation all parts go at a tenth of the rate."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    optimizer = SignedSGD(model.parameters(), 1.0, backend="reference")

    def make() -> Forgetting:
        numbers = {"layer_pruned_share": 0.5, "dense_lr_scale": 0.1}
        return Forgetting("dsd", model, optimizer, "2", generations=3, epochs=1, **numbers)

    return make(), model, optimizer, make


def rates_in_a_step(optimizer: SignedSGD) -> list[float]:
    rates: list[float] = []
    hook = optimizer.register_step_pre_hook(lambda *_: rates.extend(group["lr"] for group in optimizer.param_groups))
    optimizer.step()
    hook.remove()
    return rates


LEFT: dict[str, Callable[[Forgetting], object]] = {
    "ended": lambda forgetting: [*forgetting.epochs()],
    "left in the second generation": lambda forgetting: next(iter(itertools.islice(forgetting.epochs(), 1, None))),
    "left in the third generation": lambda forgetting: next(iter(itertools.islice(forgetting.epochs(), 2, None))),
    "ended after it was left": lambda forgetting: [next(forgetting.epochs()), *forgetting.epochs()],
}


@pytest.mark.parametrize("how", LEFT)
def test_steps_after_the_loop_are_the_optimizers_own(how: str) -> None:
    forgetting, model, optimizer, _ = sparse_then_dense()
    LEFT[how](forgetting)
    assert rates_in_a_step(optimizer) == [1.0]

    weight = model.get_parameter("0.weight")
    before = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before - 1.0)


def test_no_mask_holds_after_the_loop() -> None:
    forgetting, model, _, _ = sparse_then_dense()
    clocks = forgetting.epochs()
    for _ in range(2):
        next(clocks)
    dead, x = ~forgetting.masks.alive["0.weight"], torch.randn(4, 3, generator=stream(0, "x"))
    for held in (True, False):
        if not held:
            clocks.close()
        model.zero_grad()
        cross_entropy(model(x), torch.arange(4) % 3).backward()
        gradient = model.get_parameter("0.weight").grad
        assert gradient is not None
        assert bool(gradient[dead].any()) != held


@pytest.mark.parametrize("first_is_kept", [False, True])
def test_one_after_another_leads_the_optimizer(first_is_kept: bool) -> None:
    first, _, optimizer, make = sparse_then_dense()
    clocks = first.epochs()
    for _ in range(3):
        next(clocks)

    assert rates_in_a_step(optimizer) == [pytest.approx(0.1)]
    if not first_is_kept:
        clocks.close()

    seen = []
    for _ in make().epochs():
        seen += rates_in_a_step(optimizer)
        assert [group["lr"] for group in optimizer.param_groups] == [1.0]
    assert seen == pytest.approx([1.0, 1.0, 0.1])
    assert rates_in_a_step(optimizer) == [1.0]


def test_an_iterator_that_another_has_followed_closes_without_harm() -> None:
    forgetting, _, optimizer, _ = sparse_then_dense()
    old = forgetting.epochs()
    next(old)
    state, new = forgetting.state_dict(), forgetting.epochs()
    for _ in range(2):
        next(new)
    old.close()
    assert rates_in_a_step(optimizer) == [pytest.approx(0.1)]
    forgetting.load_state_dict(state)
    assert rates_in_a_step(optimizer) == [1.0]


def test_an_iterator_that_begins_again_after_another_lets_go_too() -> None:
    forgetting, _, optimizer, _ = sparse_then_dense()
    old = forgetting.epochs()
    next(old)
    for _ in forgetting.epochs():
        break
    for _ in range(2):
        next(old)
    assert rates_in_a_step(optimizer) == [pytest.approx(0.1)]
    old.close()
    assert rates_in_a_step(optimizer) == [1.0]


def test_what_one_has_frozen_is_let_go_where_another_trains_the_network_by_another_optimizer() -> None:
    model, optimizer, threshold, _ = begin("mobilenet")
    numbers = loop_options("seal_freeze") | {"frozen_statistics": "hold", "ascent_epochs": 1}
    first = Forgetting("seal_freeze", model, optimizer, threshold, generations=2, epochs=1, **numbers)
    kept = first.epochs()
    for _ in range(2):
        next(kept)
    late = split_parameters(model, threshold).late
    assert not any(value.requires_grad for value in late.values())

    another = SignedSGD(model.parameters(), 0.1, backend="reference")
    for _ in Forgetting("normal_long", model, another, threshold, generations=1, epochs=1).epochs():
        assert all(value.requires_grad for value in late.values())


def test_what_led_is_freed_with_its_owner() -> None:
    forgetting, model, optimizer, make = sparse_then_dense()
    [*forgetting.epochs()]
    gone = weakref.ref(model), weakref.ref(optimizer), weakref.ref(forgetting)
    del forgetting, model, optimizer, make
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3


@pytest.mark.parametrize("evaluated", [False, True])
def test_what_was_frozen_is_let_go_where_the_loop_is_left(evaluated: bool) -> None:
    model, optimizer, threshold, _ = begin("mobilenet")
    numbers = loop_options("seal_freeze") | {"frozen_statistics": "hold", "ascent_epochs": 1}
    forgetting = Forgetting("seal_freeze", model, optimizer, threshold, generations=2, epochs=2, **numbers)
    late = split_parameters(model, threshold).late
    for clock in forgetting.epochs():
        if clock == Clock(2, 0):
            assert not any(value.requires_grad for value in late.values())
            model.train(not evaluated)
            break
    assert all(value.requires_grad for value in late.values())
    assert {module.training for module in model.modules()} == {not evaluated}, "norms are as the network is"


def test_a_failing_draw_leaves_nothing_behind() -> None:
    model, optimizer, threshold, make = begin("mobilenet")
    drawn: list[nn.Module] = []

    def out_of_memory() -> nn.Module:
        if drawn:
            raise torch.OutOfMemoryError
        drawn.append(make())
        return drawn[0]

    forgetting = Forgetting(
        "seal_reinit", model, optimizer, threshold, generations=2, epochs=1, fresh=out_of_memory,
        **loop_options("seal_reinit"),
    )  # fmt: skip
    with pytest.raises(torch.OutOfMemoryError):
        train(forgetting, model, optimizer)
    assert rates_in_a_step(optimizer) == [0.05, 0.05]


@pytest.mark.parametrize("gpus", [None, 0, 2], ids=["not begun", "none", "two"])
def test_a_draw_leaves_torchs_own_generators_where_they_were(gpus: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's too, here invented ones; and one that torch has not begun to use is left alone."""
    states = {number: torch.tensor([number]) for number in range(gpus or 0)}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: gpus is not None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 if gpus is None else gpus)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[device].clone())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: states.__setitem__(device, state))
    seeds: list[int] = []

    def seed_all(seed: int) -> None:
        seeds.append(seed)
        states.update(dict.fromkeys(states, torch.tensor([seed])))

    monkeypatch.setattr(torch.cuda, "manual_seed_all", seed_all)
    torch.default_generator.manual_seed(3)
    expected = torch.rand(2)

    torch.default_generator.manual_seed(3)
    drawn = []
    for _ in range(2):
        with torch_drawing_from(stream(0, "draw")):
            drawn.append(torch.rand(2))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(*drawn)
    assert states == {number: torch.tensor([number]) for number in range(gpus or 0)}
    assert len(seeds) == (2 if gpus else 0)


@pytest.mark.parametrize("method", METHODS)
def test_what_its_owner_has_frozen_stays(method: str) -> None:
    model, optimizer, threshold, make = begin("mobilenet")
    frozen = {name: value for name, value in model.named_parameters() if ".1." in name}
    for value in frozen.values():
        value.requires_grad_(False)
    before = {name: value.clone() for name, value in frozen.items()}
    forgetting = Forgetting(
        method, model, optimizer, threshold, generations=3, epochs=E, fresh=make, **loop_options(method)
    )  # fmt: skip
    train(forgetting, model, optimizer)
    assert all(torch.equal(value, before[name]) for name, value in frozen.items())
    assert not any(value.requires_grad for value in frozen.values())


class Again(nn.Module):
    """Of which a layer is at two places, by two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.second = self.first
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.norm(self.first(x))))  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", [Clock(1, 0), Clock(1, 1), Clock(2, 1)], ids=["early", "later", "generation 2"])
def test_what_is_frozen_within_a_training_stays_from_there_on(at: Clock, method: str) -> None:
    torch.manual_seed(0)
    model = Again()
    sides = split_parameters(model, "head")
    optimizer = SignedSGD([{"params": list(side.values())} for side in (sides.early, sides.late)], 0.05, 0.9, 1e-4)
    forgetting = Forgetting(
        method, model, optimizer, "head", generations=3, epochs=2, fresh=Again, **loop_options(method)
    )
    frozen = ("first.weight", "first.bias", "norm.weight", "head.bias")
    still: dict[str, Tensor] = {}
    for clock in forgetting.epochs():
        assert all(torch.equal(model.state_dict()[name], value) for name, value in still.items()), clock
        x, y = torch.randn(6, 4, generator=stream(clock.epoch, "x")), torch.arange(6) % 3
        optimizer.zero_grad()
        logits = model(x)
        forgetting.loss(x, logits, cross_entropy(logits, y)).backward()
        optimizer.step()
        if clock == at:
            for name in frozen:
                model.get_parameter(name).requires_grad_(False).grad = None
            still = {name: model.state_dict()[name].clone() for name in frozen}
    assert still


def test_a_frozen_scales_statistics_are_not_rewound() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    optimizer = SignedSGD(model.parameters(), 0.05)
    forgetting = Forgetting("imp", model, optimizer, "2", generations=2, epochs=1, **loop_options("imp"))
    clocks = forgetting.epochs()
    next(clocks)
    model(torch.ones(2, 4))
    model[1].weight.requires_grad_(False)
    next(clocks)
    assert int(model[1].num_batches_tracked) == 1


def test_a_pruned_weight_may_be_frozen_within_a_generation() -> None:
    model, optimizer, threshold, make = begin("mobilenet")
    forgetting = Forgetting(
        "imp", model, optimizer, threshold, generations=2, epochs=2, fresh=make, **loop_options("imp")
    )
    for clock in forgetting.epochs():
        if clock == Clock(2, 0):
            model.get_parameter("features.0.0.weight").requires_grad_(False)
    assert not model.get_parameter("features.0.0.weight")[~forgetting.masks.alive["features.0.0.weight"]].any()


@pytest.mark.parametrize("method", ["llf", "ke_wels"])
def test_a_layers_own_buffer_is_no_statistic(method: str) -> None:
    def make() -> nn.Module:
        network = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), nn.Linear(4, 3))
        network[2].register_buffer("mask", torch.zeros(4))
        return network

    model = make()
    model[2].mask.fill_(7.0)
    sides = split_parameters(model, "1")
    optimizer = SignedSGD([{"params": list(side.values())} for side in (sides.early, sides.late)], 0.1)
    numbers = loop_options(method) | ({"llf_reinitialises": "all"} if method == "llf" else {})
    forgetting = Forgetting(method, model, optimizer, "1", generations=2, epochs=1, fresh=make, **numbers)
    for clock in forgetting.epochs():
        if clock.generation == 1:
            model(torch.ones(2, 4))
    assert (model[2].mask == 7).all()
    counted = int(model[1][1].num_batches_tracked)
    assert counted == (0 if method == "llf" else 1), "but a normalisation's come with its scale"


@pytest.mark.parametrize(
    ("method", "changes", "error", "words"),
    [
        ("lff", {}, ValueError, r"method 'lff', expected one of normal_long, llf, "),
        ("ke_wels", {"split_rate": 1.5}, ValueError, r"split_rate is 1.5, expected a number, at least 0 and at most 1"),
        ("ke_wels", {"rate": 0.5}, ValueError, r"ke_wels has no option rate, expected of split_rate"),
        ("normal_long", {"rate": 0.5}, ValueError, r"normal_long has no option rate, expected of none"),
        ("ke_wels", {}, ValueError, r"split_rate: missing key, expected a number"),
    ],
)
def test_what_cannot_be_is_said_at_once(
    method: str, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    model, optimizer, threshold, make = begin("mobilenet")
    with pytest.raises(error, match=words):
        Forgetting(method, model, optimizer, threshold, generations=2, epochs=2, fresh=make, **changes)


def test_groups_optimizers_and_draws_that_cannot_be_are_said() -> None:
    model, _, threshold, _ = begin("mobilenet")
    both = SignedSGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"holds parameters of early, late, fc, which follow different rules: make"):
        Forgetting("seal", model, both, threshold, generations=2, epochs=2, **loop_options("seal"))
    with pytest.raises(TypeError, match=r"the optimizer is a SGD, expected a seal.SignedSGD"):
        Forgetting("seal", model, torch.optim.SGD(model.parameters(), 0.1), threshold, generations=2, epochs=2)  # type: ignore
    with pytest.raises(ValueError, match=r"ban draws values anew: give `fresh`"):
        Forgetting("ban", model, both, threshold, generations=2, epochs=1)
