"""Batches against torchvision's crop, flip and normalisation, image by image, with the same draws."""

from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seal.data.batches import Batches

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of noise; labels are the images' numbers."""
    images = torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator(7))
    return images, torch.arange(count)


def batches(images: torch.Tensor, labels: torch.Tensor, **changes) -> Batches:
    settings = {"batch_size": 4, "mean": MEAN, "std": STD, "flip": True, "crop_padding": 2}
    settings |= {"device": "cpu", "channels_last": True}
    return Batches(images, labels, **settings | changes)


@given(
    count=st.integers(1, 9), height=st.integers(1, 9), width=st.integers(1, 9), batch_size=st.integers(1, 5),
    flip=st.booleans(), padding=st.integers(0, 3), channels_last=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_batch_equals_torchvision_image_by_image(
    count, height, width, batch_size, flip, padding, channels_last, seed
) -> None:
    from torchvision.transforms.v2 import functional

    images, labels = noise(count, height, width)
    ours = batches(
        images, labels, batch_size=batch_size, flip=flip, crop_padding=padding, channels_last=channels_last
    ).epoch(generator(seed), generator(seed + 1))  # fmt: skip
    draws = generator(seed + 1)
    for chosen in torch.randperm(count, generator=generator(seed)).split(batch_size):
        flips = torch.rand(len(chosen), 1, generator=draws).flatten() < 0.5 if flip else [False] * len(chosen)
        corners = torch.zeros(len(chosen), 2, dtype=torch.int64)
        if padding:
            corners = torch.randint(0, 2 * padding + 1, (len(chosen), 2), generator=draws)
        expected = []
        for number, flipped, (top, left) in zip(chosen, flips, corners.tolist(), strict=True):
            image = functional.pad(images[number].permute(2, 0, 1), [padding])
            image = functional.crop(image, top, left, height, width)
            image = functional.horizontal_flip(image) if flipped else image
            expected.append(functional.normalize(image.float().div(255), list(MEAN), list(STD)))
        x, y = next(ours)
        assert torch.equal(x, torch.stack(expected))
        assert torch.equal(y, chosen)
        assert x.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert next(ours, None) is None


@given(count=st.integers(0, 40), batch_size=st.integers(1, 9), seed=st.integers(0, 99))
def test_an_epoch_shows_every_image_once_in_the_order_drawn(count: int, batch_size: int, seed: int) -> None:
    data = batches(*noise(count, 4, 4), batch_size=batch_size)
    labels = [y.tolist() for _, y in data.epoch(generator(seed), generator(0))]
    assert len(labels) == len(data)
    assert list(chain(*labels)) == torch.randperm(count, generator=generator(seed)).tolist()


def test_the_order_is_the_same_whatever_the_augmentation() -> None:
    plain = batches(*noise(10, 4, 4), flip=False, crop_padding=0).epoch(generator(1), generator(2))
    augmented = batches(*noise(10, 4, 4)).epoch(generator(1), generator(3))
    for (_, y), (_, z) in zip(plain, augmented, strict=True):
        assert torch.equal(y, z)


def test_without_augmentation_nothing_is_drawn_for_it() -> None:
    augmentation = generator(5)
    before = augmentation.get_state()
    list(batches(*noise(10, 4, 4), flip=False, crop_padding=0).epoch(generator(1), augmentation))
    assert torch.equal(augmentation.get_state(), before)


@pytest.mark.parametrize("batch_size", [None, 1, 3, 100])
def test_clean_is_every_image_in_packed_order(batch_size: int | None) -> None:
    images, labels = noise(10, 5, 3)
    clean = list(batches(images, labels).clean(batch_size))
    assert len(clean[0][0]) == min(batch_size or 4, 10)
    expected = (images.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    assert torch.equal(torch.cat([x for x, _ in clean]), expected.permute(0, 3, 1, 2))
    assert torch.equal(torch.cat([y for _, y in clean]), labels)


def test_clean_leaves_the_images_as_they_were() -> None:
    images, labels = noise(10, 4, 4)
    before = images.clone()
    data = batches(images, labels)
    list(data.clean())
    list(data.epoch(generator(0), generator(1)))
    assert torch.equal(images, before)


def test_plain_shares_the_images_and_augments_nothing() -> None:
    data = batches(*noise(10, 6, 5))
    plain = data.plain()
    assert plain.images is data.images
    order = torch.randperm(10, generator=generator(1))
    x = torch.cat([x for x, _ in plain.epoch(generator(1), generator(2))])
    assert torch.equal(x, torch.cat([x for x, _ in data.clean()])[order])
    assert data.flip
    assert data.crop_padding == 2


def test_channels_last_is_a_view_of_nhwc_memory() -> None:
    x, _ = next(batches(*noise(8, 6, 5)).epoch(generator(0), generator(1)))
    assert x.permute(0, 2, 3, 1).is_contiguous()


def test_no_image_is_no_batch() -> None:
    empty = batches(*noise(0, 4, 4))
    assert len(empty) == 0
    assert list(empty.clean()) == []
    assert list(empty.epoch(generator(0), generator(1))) == []


def test_every_tensor_is_on_the_device() -> None:
    data = batches(*noise(10, 6, 5), device="meta")
    for epoch in (data.epoch(generator(0), generator(1)), data.clean()):
        assert {(x.device.type, y.device.type, tuple(x.shape[1:])) for x, y in epoch} == {("meta", "meta", (3, 6, 5))}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(3, 3, 4, 4, dtype=torch.uint8)}, r"expected torch\.uint8 \(N, H, W, 3\)"),
        ({"images": torch.zeros(3, 4, 4, 3)}, r"found torch\.float32"),
        ({"labels": torch.arange(4)}, r"expected \(3,\) as there are images"),
        ({"batch_size": 0}, "found batch_size 0"),
        ({"crop_padding": -1}, "crop_padding -1"),
    ],
)
def test_what_cannot_be_batched_is_an_error(changes, message: str) -> None:
    images, labels = noise(3, 4, 4)
    arguments = {"images": images, "labels": labels} | changes
    with pytest.raises(ValueError, match=message):
        batches(**arguments)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_batches() -> None:
    images, labels = noise(50, 32, 32)
    cpu = batches(images, labels).epoch(generator(0), generator(1))
    gpu = batches(images, labels, device="cuda").epoch(generator(0), generator(1))
    for (x, y), (u, v) in zip(cpu, gpu, strict=True):
        assert torch.equal(x, u.cpu())
        assert torch.equal(y, v.cpu())
