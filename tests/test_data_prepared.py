"""Preprocessing by name: each does what it says, and is another pack."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seal.data.images import decode_image
from seal.sections import Preprocessing
from tests.own_images import animals, pack, write


def turned(image: Image.Image) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[274] = 6
    image.save(file, "PNG", exif=exif)
    return file.getvalue()


def deep(image: Image.Image) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(file, "TIFF")
    return file.getvalue()


def clear(image: Image.Image) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(file, "PNG")
    return file.getvalue()


def saved(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def turned_scan(image: Image.Image, **how: Any) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[274] = 6
    image.save(file, "TIFF", exif=exif, **how)
    return file.getvalue()


NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 48, 3), np.uint8))
PREPARED: dict[str, tuple[dict[str, Any], Callable[[Image.Image], bytes], Callable[[Image.Image], Image.Image]]] = {
    "exif": ({"orientation": "exif"}, turned, lambda image: image.rotate(-90, expand=True).resize((8, 8), 2)),
    "exif of a scan": (
        {"orientation": "exif"}, turned_scan, lambda image: image.rotate(-90, expand=True).resize((8, 8), 2),
    ),
    "stored": ({"orientation": "stored"}, turned, lambda image: image.resize((8, 8), 2)),
    "a scan as stored": ({"orientation": "stored"}, turned_scan, lambda image: image.resize((8, 8), 2)),
    "a compressed scan as stored": (
        {}, lambda image: turned_scan(image, compression="tiff_lzw"), lambda image: image.resize((8, 8), 2),
    ),
    "a deep scan as stored": (
        {"deep": "scale"}, lambda image: turned_scan(Image.open(io.BytesIO(deep(image)))),
        lambda image: image.convert("L").convert("RGB").resize((8, 8), 2),
    ),
    "a scan as stored over white": (
        {"alpha": "white"}, lambda image: turned_scan(image.convert("RGBA")), lambda image: image.resize((8, 8), 2),
    ),
    "deep": ({"deep": "scale"}, deep, lambda image: image.convert("L").convert("RGB").resize((8, 8), 2)),
    "alpha": ({"alpha": "white"}, clear, lambda image: Image.new("RGB", (8, 8), "white")),
    "crop": ({"fit": "crop"}, saved, lambda image: image.resize((16, 8), 2).crop((4, 0, 12, 8))),
    "bicubic": ({"interpolation": "bicubic"}, saved, lambda image: image.resize((8, 8), 3)),
    "nearest": ({"interpolation": "nearest", "antialias": False}, saved, lambda image: image.resize((8, 8), 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", PREPARED)
def test_preprocessing_does_what_its_name_says(name: str) -> None:
    values, encode, expected = PREPARED[name]
    pixels = decode_image("x", encode(NOISE), 8, Preprocessing(**values))
    assert np.array_equal(pixels, np.asarray(expected(NOISE)))


def test_another_preprocessing_is_another_pack_and_the_defaults_are_unnamed(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", {name: saved(NOISE.rotate(k)) for k, name in enumerate(animals())})
    plain = pack(folder)
    assert plain.provenance["selection"].keys() == {"image_size", "split", "classes", "images_per_class"}
    before = plain.sha256
    made = pack(folder, preprocessing=Preprocessing(fit="crop"))
    assert made.sha256 != before
    assert made.provenance["selection"]["preprocessing"]["fit"] == "crop"
