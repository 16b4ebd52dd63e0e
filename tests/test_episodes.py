"""Episodes: what makes a list of few-shot tasks fair, and the same for every network."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from eval.episodes import TooFewImages, drawn_share, orders, sample_episodes
from seal.rng import stream

# Of 8 classes with 30 images each, 5-way 5-shot with 15 queries, 10 episodes, seed 0.
LIST = "723b1a4167ed50aecdd30db5a6df5b502ad4794a9cbcdf2590661ab8f789ea5e"


@st.composite
def labelled(draw: st.DrawFn) -> tuple[torch.Tensor, int, int, int, int]:
    """Labels in any order, and n_way, k_shot, n_query, seed of which at least n_way classes have enough images."""
    n_way, k_shot, n_query = draw(st.integers(2, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    counts = draw(st.lists(st.integers(0, 12), min_size=0, max_size=4))
    counts += [k_shot + n_query + draw(st.integers(0, 3)) for _ in range(n_way)]
    seed = draw(st.integers(0, 2**31))
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=stream(seed, "test"))], n_way, k_shot, n_query, seed


@given(labelled())
def test_an_episode_has_distinct_classes_and_images_of_them_once_in_the_right_number(drawn: tuple) -> None:
    labels, n_way, k_shot, n_query, seed = drawn
    episodes = sample_episodes(labels, n_way, k_shot, n_query, 3, seed)
    assert episodes.support.shape == (3, n_way, k_shot)
    assert episodes.query.shape == (3, n_way, n_query)
    for classes, support, query in zip(episodes.classes, episodes.support, episodes.query, strict=True):
        assert len(classes.unique()) == n_way
        both = torch.cat([support, query], 1)
        assert len(both.unique()) == both.numel()
        assert torch.equal(labels[both], classes[:, None].expand_as(both))
    few = [label for label, count in enumerate(labels.bincount().tolist()) if count < k_shot + n_query]
    assert episodes.left_out == few
    assert not set(few) & set(episodes.classes.flatten().tolist())


def test_the_list_is_a_function_of_the_seed_alone() -> None:
    labels = torch.arange(8).repeat_interleave(30)
    torch.manual_seed(1)
    first = sample_episodes(labels, 5, 5, 15, 10, 0)
    torch.rand(5)
    assert first.sha256 == sample_episodes(labels, 5, 5, 15, 10, 0).sha256 == LIST
    assert first.sha256 != sample_episodes(labels, 5, 5, 15, 10, 1).sha256


def test_fewer_episodes_are_the_first_of_more_and_queries_are_the_same_for_every_number_of_shots() -> None:
    labels = torch.arange(8).repeat_interleave(30)
    many, few, one = (sample_episodes(labels, 5, shots, 10, count, 0) for shots, count in ((5, 10), (5, 4), (1, 10)))
    assert torch.equal(many.support[:4], few.support)
    assert torch.equal(many.query, one.query)
    assert torch.equal(many.support[:, :, :1], one.support)


def test_every_class_and_image_is_drawn_about_equally_often() -> None:
    labels = torch.arange(6).repeat_interleave(12)
    episodes = sample_episodes(labels, 3, 2, 4, 600, 0)
    classes, images = episodes.classes.flatten().bincount(), episodes.support.flatten().bincount()
    assert (classes - 300).abs().max() < 5 * (600 * 0.5 * 0.5) ** 0.5
    assert (images - 50).abs().max() < 5 * 50**0.5


def test_too_few_classes_with_enough_images_give_no_episodes_and_say_how_many() -> None:
    labels = torch.tensor([0] * 20 + [1] * 19 + [2] * 3)
    drawn = sample_episodes(labels, 3, 4, 15, 2, 0, classes=4)
    assert drawn == TooFewImages("2 of 4 classes have 19 images, expected at least 3 for 3-way 4-shot with 15 queries")


def test_orders_are_permutations_by_the_episodes_own_seed() -> None:
    several = torch.stack(list(orders(0, range(4), 7, 3)))  # epochs, episodes, size
    assert torch.equal(several.sort(2).values, torch.arange(7).expand(3, 4, 7))
    assert torch.equal(several[:, 2:3], torch.stack(list(orders(0, [2], 7, 3))))
    assert len(several.flatten(0, 1).unique(dim=0)) > 6


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.sampled_from([0.1, 0.2, 0.5]))
def test_a_drawn_share_is_that_of_each_class(counts: list[int], share: float) -> None:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    drawn = drawn_share(labels, share, stream(0, "test"))
    assert [int(drawn[labels == label].sum()) for label in range(len(counts))] == [round(share * n) for n in counts]
