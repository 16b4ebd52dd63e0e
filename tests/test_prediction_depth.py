"""Depth by its definition, votes against counting by hand, probes against every pair, and the stage as DVC calls it."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from eval.features import outputs_of, plain_batches
from eval.prediction_depth import each_class_in_turn, main
from eval.probes import blocks_at_once, prediction_depth, probe, vote
from seal.data.batches import Batches
from seal.errors import UserError
from seal.evaluations import PredictionDepth
from seal.models import ResNet, block_names, build
from seal.record import read_json
from seal.rng import stream
from seal.sections import Model
from tests.small import CPU, small_data, small_images, small_run
from tests.small_project import write_params
from tests.strategies import SMOKE

pytestmark = pytest.mark.numerical

SMALL = Model(depth=18, width=2, stem="small", classifier_bias="zero")
BLOCKS = list(block_names(SMALL).values())
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def section(**changes: Any) -> PredictionDepth:
    return PredictionDepth.model_validate(SMOKE["prediction_depth"] | {"batch_size": 8} | changes)


@pytest.fixture(scope="module")
def network() -> ResNet:
    model = build(SMALL, 3, stream(0, "initialisation"))
    with torch.no_grad():  # running statistics of its own
        model.train()(next(iter(batches_of("train", 26).clean(26)))[0])
    return model.eval().requires_grad_(False)


def batches_of(split: str, count: int, order: Tensor | None = None) -> Batches:
    images, labels = small_images(split, count)
    order = torch.arange(count) if order is None else order
    return plain_batches(images[order], labels[order], batch_size=8, mean=MEAN, std=STD, device=CPU)


def features(network: ResNet, block: str, batches: Batches) -> np.ndarray:
    """Float64 rows [N, D] of a block's output, from one image at a time."""
    with outputs_of(network, [block]) as outputs:
        rows = [(network(x), outputs[block].flatten().double().numpy())[1] for x, _ in batches.clean(1)]
    return np.stack(rows)


# Votes of B = 4 probes against prediction 1, and the depth.
DEPTHS = [
    ([1, 1, 1, 1], 0), ([0, 1, 1, 1], 1), ([1, 0, 1, 1], 2), ([0, 0, 1, 1], 2), ([1, 1, 0, 1], 3), ([2, 0, 2, 1], 3),
    ([1, 1, 1, 0], 4), ([0, 2, 0, 2], 4), ([2, 2, 2, 2], 4),
]  # fmt: skip


@pytest.mark.parametrize(("votes", "depth"), DEPTHS)
def test_depth_is_the_least_block_from_which_on_all_probes_agree(votes: list[int], depth: int) -> None:
    assert prediction_depth(torch.tensor([votes]), torch.tensor([1])).tolist() == [depth]


def test_depths_of_many_images_are_each_ones_own() -> None:
    votes, depths = (torch.tensor(each) for each in zip(*DEPTHS, strict=True))
    assert torch.equal(prediction_depth(votes, torch.ones(len(votes), dtype=torch.int64)), depths)
    assert prediction_depth(votes, votes[:, -1]).max() <= 3, "the last probe agrees with itself"


@given(st.lists(st.integers(0, 2), min_size=1, max_size=16), st.data())
def test_a_probe_that_comes_to_agree_never_raises_depth(votes: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(votes) - 1))
    mended = votes.copy()
    mended[at] = 1
    before, after = (prediction_depth(torch.tensor([each]), torch.tensor([1])).item() for each in (votes, mended))
    assert after <= before <= len(votes)
    assert (before == len(votes)) == (votes[-1] != 1)
    assert (before == 0) == (set(votes) == {1})


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_the_vote_is_the_majoritys_and_of_tied_classes_the_nearest(labels: list[int]) -> None:
    counts = Counter(labels)
    expected = max(counts, key=lambda label: (counts[label], -labels.index(label)))
    assert vote(torch.tensor([labels, labels])).tolist() == [expected] * 2


@pytest.mark.parametrize("backend", ["torch", "faiss"])
@pytest.mark.parametrize(("memory_kb", "passes"), [(512, 1), (45, 3)])
def test_probes_are_the_majority_among_every_pairs_nearest(
    network: ResNet, backend: str, memory_kb: int, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block takes 10 to 1 kB of features here, its search 27 and less."""
    monkeypatch.setattr("eval.knn.pairs_at_once", lambda *_: 2)
    monkeypatch.setattr("eval.probes.MB", 2**10)
    train, test = batches_of("train", 26), batches_of("test", 12)
    found = probe(network, BLOCKS, train, test, section(backend=backend, memory_mb=memory_kb))
    assert found.passes == passes
    assert found.certified.all()
    for block, votes in zip(BLOCKS, found.votes.T.tolist(), strict=True):
        mine, theirs = features(network, block, test), features(network, block, train)
        distances = ((mine[:, None] - theirs[None]) ** 2).sum(2)
        near = np.argsort(distances, axis=1, kind="stable")[:, :6]
        gaps = np.diff(np.take_along_axis(distances, near, 1)) / distances.max()
        labels = train.labels.numpy()[near[:, :5]].tolist()
        for image, (row, gap) in enumerate(zip(labels, gaps, strict=True)):
            if gap.min() > 1e-5:  # one image at a time and eight round differently
                counts = Counter(row)
                assert votes[image] == max(counts, key=lambda label: (counts[label], -row.index(label)))
    x = torch.cat([x for x, _ in test.clean()])
    assert torch.equal(found.prediction, network(x).argmax(1))


def test_votes_do_not_depend_on_the_order_of_training_images(network: ResNet) -> None:
    one = probe(network, BLOCKS, batches_of("train", 26), batches_of("test", 12), section())
    order = torch.randperm(26, generator=stream(0, "test"))
    other = probe(network, BLOCKS, batches_of("train", 26, order), batches_of("test", 12), section())
    assert torch.equal(one.votes, other.votes)


def test_copies_of_the_images_are_resolved_by_a_second_pass(network: ResNet) -> None:
    """Each image nine times: more ties at rank 5 than are looked at, so that no query is certified at first."""
    order = torch.arange(26).repeat(9)
    train, test = batches_of("train", 26, order), batches_of("train", 26)
    train.batch_size = 300
    found = probe(network, BLOCKS, train, test, section(spare=0))
    assert found.passes == 2
    assert not found.certified.any()
    assert torch.equal(found.votes, test.labels[:, None].expand(26, len(BLOCKS))), "its own copies are nearest"


def test_blocks_share_a_pass_as_memory_allows() -> None:
    counts = {"a": 4096, "b": 2048, "c": 1024, "d": 1024}

    def groups(memory_mb: int) -> list[list[str]]:
        return blocks_at_once(counts, 1000, 100, section(memory_mb=memory_mb), CPU)

    assert groups(100) == [["a", "b", "c", "d"]]
    assert groups(30) == [["a", "b"], ["c", "d"]]  # 25.8 MB of features and 3.7 of work
    with pytest.raises(
        UserError, match=r"memory_mb is 10, expected at least \d+ for 1000 test images of 4096 features"
    ):
        groups(10)


def test_what_would_give_other_features_is_refused(network: ResNet) -> None:
    data = small_data(small_run())
    with pytest.raises(ValueError, match="augmented, expected plain"):
        probe(network, BLOCKS, data.train, data.test, section())
    with pytest.raises(UserError, match=r"neighbours is 27, expected at most 26"):
        probe(network, BLOCKS, data.clean, data.test, section(neighbours=27))
    network.layer1[0].bn1.train()
    try:
        with pytest.raises(ValueError, match="in training mode, expected eval"):
            probe(network, BLOCKS, data.clean, data.test, section())
    finally:
        network.eval()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 50))
def test_some_images_are_the_first_of_each_class_in_turn(labels: list[int], count: int) -> None:
    chosen = each_class_in_turn(torch.tensor(labels), count).tolist()
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, len(labels))
    taken = Counter(labels[at] for at in chosen)
    for label, total in Counter(labels).items():
        mine = [at for at in range(len(labels)) if labels[at] == label]
        assert set(mine) & set(chosen) == set(mine[: taken[label]]), "the first of the class"
        assert taken[label] >= min(total, max(taken.values()) - 1), "no class goes short while another has two more"
    assert each_class_in_turn(torch.tensor(labels), None).tolist() == list(range(len(labels)))


@pytest.mark.parametrize("reference", ["model", "last_probe"])
def test_the_stage_writes_its_values(project: Path, reference: str) -> None:
    write_params(prediction_depth={"reference": reference, "test_images": 6, "features": "pooled", "metric": "cosine"})
    main(["--run", "normal-0"])
    folder = project / "results/normal-0/eval/prediction_depth"
    record = read_json(folder / "gen-01.json")
    values = record["values"]
    with np.load(folder / "gen-01.npz") as arrays:
        votes, depth, labels = (arrays[name] for name in ("votes", "depth", "labels"))
    assert (votes.shape, votes.dtype, depth.dtype) == ((6, 8), np.int16, np.uint8)
    assert values["blocks"] == list(block_names(SMALL))
    assert values["depth_counts"] == np.bincount(depth, minlength=9).tolist()
    assert values["mean_depth"] == pytest.approx(depth.mean(), rel=1e-6)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(values["knn_accuracy"], (votes == labels[:, None]).mean(0), rtol=1e-6)
    assert (depth < 8).all() or reference == "model"
    assert values["passes"] >= 1
    assert record["params"]["images"] == {"train": 16, "test": 6}
    assert "images" in (project / "timings/prediction_depth@normal-0.csv").read_text()
