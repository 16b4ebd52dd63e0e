"""Pruning with rewinding, and dense-sparse-dense: exact and nested masks, and weights that stay at zero."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import prune

from seal.checkpoint import State
from seal.clock import Clock, Course
from seal.masks import largest
from seal.methods import METHODS
from seal.methods.pruning import Pruning
from seal.models import build
from seal.rng import stream
from seal.sections import Model
from seal.trainer import Trainer
from tests.small import CPU, small_data, small_run, trained

tensors = st.lists(
    st.lists(st.integers(-3, 3), min_size=1, max_size=12).map(lambda values: torch.tensor(values, dtype=torch.float32)),
    min_size=1, max_size=4,
)  # fmt: skip


@given(values=tensors, shares=st.lists(st.floats(0, 1), min_size=1, max_size=4), seed=st.integers(0, 9))
def test_masks_by_magnitude_are_exact_and_nested_whatever_ties(
    values: list[Tensor], shares: list[float], seed: int
) -> None:
    """Training between them moves what lives, to zero too."""
    named = {str(index): value for index, value in enumerate(values)}
    total, alive, generator = sum(value.numel() for value in values), {}, stream(seed, "moved")
    for share in sorted(shares, reverse=True):
        masks = largest(named, share, among=alive)
        assert sum(int(mask.sum()) for mask in masks.values()) == round(share * total)
        assert not any((masks[name] & ~mask).any() for name, mask in alive.items())
        alive = masks
        named = {name: torch.randint(-1, 2, mask.shape, generator=generator) * mask for name, mask in masks.items()}


@given(values=tensors, share=st.floats(0, 1))
def test_a_mask_by_magnitude_keeps_nothing_smaller_than_what_it_prunes(values: list[Tensor], share: float) -> None:
    named = {str(index): value for index, value in enumerate(values)}
    masks = largest(named, share, among={})
    kept = torch.cat([named[name][mask] for name, mask in masks.items()]).abs()
    pruned = torch.cat([named[name][~mask] for name, mask in masks.items()]).abs()
    assert not len(kept) or not len(pruned) or kept.min() >= pruned.max()


def test_pruning_is_torchs_own() -> None:
    network = build(Model(depth=18, width=4, stem="small", classifier_bias="zero"), 3, stream(0, "network"))
    weights = {name: value for name, value in network.named_parameters() if value.ndim > 1}
    masks = largest(weights, 0.5, among={})

    layers = [(module, "weight") for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    total = sum(value.numel() for value in weights.values())
    prune.global_unstructured(layers, prune.L1Unstructured, amount=total - round(0.5 * total))
    theirs = dict(network.named_buffers())
    assert all(torch.equal(theirs[f"{name}_mask"].bool(), mask) for name, mask in masks.items())


@pytest.mark.parametrize("late", [0.0, 0.4])
def test_pruned_weights_are_zero_at_each_end_and_the_others_begin_where_they_began(tmp_path: Path, late: float) -> None:
    run = small_run("imp", num_generations=4, rewound_share=late, reset_momentum=False)
    trainer, ended, state = trained(tmp_path, run)
    weights = trainer.view(Clock(1, 0), State()).weights
    total = sum(value.numel() for value in weights.values())
    for generation, network in enumerate(ended[1:], start=2):
        nonzero = sum(int((network[name] != 0).sum()) for name in weights)
        assert nonzero == round(0.8 ** (generation - 1) * total) == state.generations[generation - 1]["live_weights"]
        assert all(not (network[name] != 0)[ended[generation - 2][name] == 0].any() for name in weights), "nested"

    began = Trainer(run, small_data(run), CPU)
    began.begin_epoch(Clock(1, 0))
    if late:  # k = 1 of 3 epochs
        began.train_epoch(Clock(1, 0), lambda *batch: None)
    trainer.begin_epoch(Clock(4, 0), replace(state, alive={}))
    for name, value in began.model.state_dict().items():
        mask = trainer.masks.alive.get(name, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(trainer.model.state_dict()[name], value * mask), name


@pytest.mark.parametrize(
    ("share", "epochs", "kept"),
    [(0.0, 10, None), (0.01, 1, 0), (0.05, 4, 0), (0.05, 10, 0), (0.05, 80, 3), (0.05, 160, 7), (1.0, 3, 2)],
)
def test_late_rewinding_keeps_an_epoch_of_however_short_a_generation(
    share: float, epochs: int, kept: int | None
) -> None:
    course = Course(0, 2, epochs, 0.0, lambda clock: 0.1, rate_restarts=True, reset_momentum=True)
    method = METHODS["imp"](course, Pruning(pruned_share=0.2, rewound_share=share))
    keeps = [clock for clock in course.clocks() if method.keeps(clock)]
    assert keeps == ([] if kept is None else [Clock(1, kept)])


def test_dense_sparse_dense_prunes_each_layer_in_every_second_generation(tmp_path: Path) -> None:
    run = small_run("dsd", num_generations=4, layer_pruned_share=0.4)
    trainer, ended, _ = trained(tmp_path, run)
    for name, value in trainer.view(Clock(1, 0), State()).weights.items():
        live = [int((network[name] != 0).sum()) for network in ended]
        assert live[1] == live[3] == round(0.6 * value.numel())
        assert live[2] > live[1], "let go again"
    scales = [{rule.lr_scale for rule in trainer.method.rules(Clock(g, 1)).values()} for g in (1, 2, 3, 4)]
    assert scales == [{1.0}, {1.0}, {0.1}, {1.0}]


def test_a_pruned_network_is_a_plain_one_to_who_loads_it(tmp_path: Path) -> None:
    import torchvision

    run = small_run("imp", num_generations=2)
    wide = run.model_copy(update={"model": Model(depth=18, width=64, stem="imagenet", classifier_bias="zero")})
    trainer = Trainer(wide, small_data(wide), CPU)
    trainer.begin_epoch(Clock(2, 0))
    state = State()
    state.take(trainer.model, trainer.optimizer, trainer.names)
    from seal.checkpoint import save_tensors

    save_tensors(tmp_path / "pruned.safetensors", state.model)

    theirs = torchvision.models.resnet18(num_classes=3)
    theirs.load_state_dict(load_file(tmp_path / "pruned.safetensors"))
    live = {name: value != 0 for name, value in theirs.named_parameters() if name in trainer.masks.alive}
    assert live.keys() == trainer.masks.alive.keys()
    assert all(torch.equal(live[name], trainer.masks.alive[name]) for name in live)
    x = torch.randn(2, 3, 32, 32, generator=stream(0, "images"))
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(x), trainer.model.eval()(x), rtol=1e-4, atol=1e-5)
