"""The linear probe against torch.optim.SGD, rate by rate, and its stage on a small image folder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from eval import transfer
from eval.linear_probe import ProbeScores, draw_layer, train_probes
from seal.errors import UserError
from seal.record import read_json
from seal.rng import stream
from tests.small_project import write_params
from tests.strategies import params_with

pytestmark = pytest.mark.numerical

ARGUMENTS = ["--run", "normal-0", "--target", "mine"]


@given(
    st.lists(st.sampled_from([0.3, 0.1, 0.01, 0.001]), min_size=1, max_size=4, unique=True),
    st.integers(1, 13), st.integers(1, 9), st.integers(2, 5), st.integers(1, 5), st.integers(1, 5),
    st.sampled_from([0.0, 0.9]), st.sampled_from([0.0, 1e-4, 0.1]), st.integers(0, 99),
)  # fmt: skip
def test_rates_trained_together_are_each_torchs_sgd(
    rates: list[float], count: int, width: int, classes: int, batch_size: int, epochs: int,
    momentum: float, decay: float, seed: int,
) -> None:  # fmt: skip
    generator = stream(seed, "test")
    x, others = (torch.randn(size, width, dtype=torch.float64, generator=generator) for size in (count, 6))
    y, truth = (torch.randint(classes, (size,), generator=generator) for size in (count, 6))
    drawn = draw_layer(seed, width, classes).double()
    layers, (probes,) = train_probes(
        x, y, drawn, rates, [(others, truth)],
        epochs=epochs, batch_size=batch_size, momentum=momentum, weight_decay=decay, seed=seed,
    )  # fmt: skip
    for index, rate in enumerate(rates):
        layer = nn.Linear(width, classes, dtype=torch.float64)
        layer.load_state_dict({"weight": drawn[:-1].T, "bias": drawn[-1]})
        optimizer = torch.optim.SGD(layer.parameters(), rate, momentum, weight_decay=decay)
        accuracy = []
        for epoch in range(epochs):
            for batch in torch.randperm(count, generator=stream(seed, "linear probe order", epoch)).split(batch_size):
                optimizer.zero_grad()
                cross_entropy(layer(x[batch]), y[batch]).backward()
                optimizer.step()
            right = layer(others).argmax(1) == truth
            accuracy.append(right.double().mean().item())
        both = torch.cat([layer.weight.T, layer.bias[None]])
        torch.testing.assert_close(layers[index], both.detach(), rtol=1e-10, atol=1e-11)
        assert probes.accuracy[:, index].tolist() == accuracy
        assert torch.equal(probes.correct[:, index], right)


def test_the_layer_starts_as_torchs_does_and_no_network_changes_it() -> None:
    layer = draw_layer(0, 64, 2000)
    assert torch.equal(layer, draw_layer(0, 64, 2000))
    assert layer.abs().max() <= 1 / 8
    assert layer.std() == pytest.approx(nn.Linear(64, 2000).weight.std().item(), rel=0.02)


def test_no_tensor_is_left_on_another_device() -> None:
    x, y = torch.empty(7, 5, device="meta"), torch.empty(7, dtype=torch.int64, device="meta")
    layers, _ = train_probes(
        x, y, draw_layer(0, 5, 3), [0.1, 0.01], [(x, y)], epochs=2, batch_size=3, momentum=0.9, weight_decay=0.0, seed=0
    )
    assert layers.shape == (2, 6, 3)
    assert layers.device.type == "meta"


def test_the_papers_rule_reads_the_test_images_and_the_validation_rule_does_not() -> None:
    test = ProbeScores(torch.tensor([[0.1, 0.9, 0.2], [0.5, 0.3, 0.6]]), torch.zeros(1, 3, dtype=torch.bool))
    val = ProbeScores(torch.tensor([[0.9, 0.0, 0.0], [0.7, 0.7, 0.1]]), torch.zeros(1, 3, dtype=torch.bool))
    values, paper, validation = transfer.values_of([0.1, 0.01, 0.001], val, test)
    assert (paper, validation) == (2, 0), "by the last epoch; of equals the first"
    assert values["paper"] == {"rate": 0.001, "accuracy": pytest.approx(0.6)}
    assert values["validation"] == {"rate": 0.1, "accuracy": 0.5}
    found = values["rates"]["0.01"]
    assert found == pytest.approx({"last": 0.3, "best": 0.9, "val_last": 0.7, "val_best": 0.7})


def test_without_validation_images_the_rate_is_chosen_by_a_fit_that_has_not_seen_them() -> None:
    protocol = params_with(transfer={"epochs": 30, "val_share": 0.25}).transfer
    # Every image has a feature of its own: a layer knows the label of those that it was trained on, and no other.
    x, y = torch.eye(40), torch.randint(4, (40,), generator=stream(0, "labels"))
    nothing = torch.empty(0, 40), torch.empty(0, dtype=torch.int64)
    on_val, on_test = transfer.probes_of(protocol, 4, (x, y), nothing, (x, y), lambda: None)
    assert on_test.accuracy[-1].max() == 1.0
    assert on_val.accuracy.max() < 0.8
    assert 8 <= len(on_val.correct) <= 12
    for share, words in ((0.01, "found 0.01, which takes 0 of 40"), (0.99, "found 0.99, which takes 40 of 40")):
        wrong = protocol.model_copy(update={"val_share": share})
        with pytest.raises(UserError, match=rf"transfer\.val_share: {words} images"):
            transfer.probes_of(wrong, 4, (x, y), nothing, (x, y), lambda: None)


def test_the_stage_end_to_end(project: Path) -> None:
    write_params(transfer={"targets": ["mine"], "epochs": 4, "learning_rates": [0.1, 0.001]})
    transfer.main(ARGUMENTS)
    folder = project / "results/normal-0/eval/transfer-mine"
    record, arrays = read_json(folder / "gen-01.json"), np.load(folder / "gen-01.npz")
    values = record["values"]
    assert set(values["rates"]) == {"0.1", "0.001"}
    assert values["test_images"] == 8
    assert values["classes"] == 2
    for rule in ("paper", "validation"):
        correct = arrays[f"correct_{rule}"]
        assert correct.dtype == np.uint8
        assert correct.shape == (8,)
        assert correct.mean() == pytest.approx(values[rule]["accuracy"])
        assert values["rates"][f"{values[rule]['rate']:g}"]["last"] == values[rule]["accuracy"]
    assert values["paper"]["accuracy"] == max(rate["last"] for rate in values["rates"].values())
