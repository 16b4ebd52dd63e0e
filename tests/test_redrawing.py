"""Knowledge Evolution, and shrink and perturb: what is drawn anew, what stays, and what they are at their ends."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seal.checkpoint import State
from seal.clock import Clock
from seal.masks import of_filters
from seal.methods import METHODS, method_of
from seal.methods.redrawing import _evolution
from seal.models import ResNet, build
from seal.rng import stream
from seal.rules import NetworkView, Values
from seal.sections import Model
from seal.trainer import Trainer
from tests.small import CPU, ends, small_data, small_run


@pytest.mark.parametrize("method", ["ke_wels", "ke_kels"])
@settings(max_examples=8)
@given(share=st.floats(0, 1), seed=st.integers(0, 3))
def test_fit_elements_and_all_that_is_no_weight_stay_and_the_split_is_one(method: str, share: float, seed: int) -> None:
    run = small_run(method, seed, split_rate=share)
    trainer = Trainer(run, small_data(run), CPU)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    changes = []
    for generation in (2, 3):
        clock = Clock(generation, 0)
        values = method_of(run).forget(clock, trainer.view(clock, State()))
        assert values.keys() <= trainer.view(clock, State()).weights.keys()
        changes.append({name: value != before[name] for name, value in values.items()})
    assert all(torch.equal(changes[0][name], changes[1][name]) for name in changes[0]), "the split is drawn once"
    assert method_of(run).forget(Clock(2, 1), trainer.view(Clock(2, 1), State())) == {}
    drawn = trainer.view(Clock(2, 0), State()).drawn(changes[0])
    again = trainer.view(Clock(3, 0), State()).drawn(changes[0])
    assert not any(torch.equal(drawn[name], again[name]) for name in drawn), "what is drawn anew is not"


@pytest.mark.parametrize("method", ["ke_wels", "ke_kels"])
def test_with_all_that_fits_knowledge_evolution_is_normal_training(tmp_path: Path, method: str) -> None:
    run = small_run(method, split_rate=1.0)
    assert ends(tmp_path / "ke", run) == ends(tmp_path / "normal", small_run("normal_long"))


def test_with_no_late_weight_that_fits_knowledge_evolution_is_llf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def masks(network: NetworkView) -> Values:
        late = network.sides.late
        return {name: torch.full(value.shape, name not in late) for name, value in network.weights.items()}

    llf = small_run("llf")
    ended = ends(tmp_path / "llf", llf)
    monkeypatch.setitem(METHODS, "ke_wels", lambda course, options: _evolution(course, masks))
    assert ends(tmp_path / "ke", llf.model_copy(update={"method": "ke_wels"})) == ended


@pytest.mark.numerical
@pytest.mark.parametrize(("depth", "width", "share"), [(18, 8, 0.5), (18, 10, 0.8), (50, 8, 0.75)])
def test_kels_fit_part_is_a_slim_network(depth: int, width: int, share: float) -> None:
    def model(channels: int) -> Model:
        return Model(depth=depth, width=channels, stem="imagenet", classifier_bias="zero")

    dense = build(model(width), 7, stream(0, "dense")).double().eval()
    with torch.no_grad():
        for name, value in dense.state_dict().items():
            if value.ndim == 1:
                drawn = torch.rand(value.shape, generator=stream(0, name), dtype=torch.float64)
                value.copy_(0.5 + drawn)

    slim = ResNet(model(math.ceil(share * width)), 7).double().eval()
    state = dense.state_dict()
    for name, value in slim.state_dict().items():
        value.copy_(state[name][tuple(slice(size) for size in value.shape)] if value.ndim else state[name])

    weights = {name: value for name, value in dense.named_parameters() if value.ndim > 1}
    with torch.no_grad():
        for name, value in weights.items():
            value.mul_(
                of_filters(value.shape, share, all_outputs=name == "fc.weight", all_inputs=name == "conv1.weight")
            )

    x = torch.randn(3, 3, 32, 32, generator=stream(0, "images"), dtype=torch.float64)
    torch.testing.assert_close(dense(x), slim(x), rtol=1e-10, atol=1e-12)


@settings(max_examples=8)
@given(scale=st.floats(0, 1), noise=st.floats(0, 1))
def test_shrink_and_perturb_is_its_formula(scale: float, noise: float) -> None:
    run = small_run("shrink_perturb", kept_scale=scale, noise_scale=noise)
    trainer, clock = Trainer(run, small_data(run), CPU), Clock(2, 0)
    network = trainer.view(clock, State())
    values, drawn = method_of(run).forget(clock, network), network.drawn(trainer.names)
    assert values.keys() == dict(trainer.model.named_parameters()).keys()
    for name, value in trainer.model.named_parameters():
        torch.testing.assert_close(values[name], scale * value.detach() + noise * drawn[name])
