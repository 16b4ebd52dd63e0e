"""From image files to square RGB bytes."""

import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, features

from seal.data.archives import DataError
from seal.data.images import decode_image
from seal.sections import Preprocessing
from tests.fixtures_data import image_bytes


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("size", [(8, 8), (20, 11), (3, 5)])
def test_every_colour_mode_and_size_becomes_rgb(mode: str, size: tuple[int, int]) -> None:
    kind = {"CMYK": "TIFF"}.get(mode, "PNG")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(mode)
    file = BytesIO()
    image.save(file, kind)
    expected = np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BILINEAR))
    pixels = decode_image("x", file.getvalue(), 8, Preprocessing())
    assert np.array_equal(pixels, expected)


def test_shrinking_averages_over_what_it_covers() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    pixels = decode_image("x", stripes, 8, Preprocessing())
    assert abs(pixels.astype(float) - 127.5).max() < 8  # sampling without antialias gives 0 or 255


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_deeper_images_are_refused(mode: str) -> None:
    file = BytesIO()
    Image.new(mode, (8, 8)).save(file, "TIFF")
    with pytest.raises(DataError, match=f"deep.tif: found colour mode {mode}"):
        decode_image("deep.tif", file.getvalue(), 8, Preprocessing())


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    header = bytearray(image_bytes(0, (8, 8), "1"))
    start = header.index(b"IHDR") + 4
    header[start : start + 8] = (9000).to_bytes(4, "big") + (9000).to_bytes(4, "big")
    header[start + 13 : start + 17] = zlib.crc32(header[start - 4 : start + 13]).to_bytes(4, "big")
    with pytest.raises(DataError, match=r"big\.png: found 9000 x 9000 pixels"):
        decode_image("big.png", bytes(header), 8, Preprocessing())


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without libavif")
@pytest.mark.parametrize("at", [81, 120, 209, 241], ids=["its item", "its planes", "its kind", "its colours"])
def test_a_damaged_avif_is_named(at: int) -> None:
    damaged = bytearray(image_bytes(0, (16, 16), kind="AVIF"))
    damaged[at] ^= 255
    with pytest.raises(DataError, match=r"photo\.avif: not an image that can be decoded: .*[Ff]ailed"):
        decode_image("photo.avif", bytes(damaged), 8, Preprocessing())


@pytest.mark.parametrize("kind", [2, 5, 7, 11], ids=["text", "fraction", "bytes", "float"])
def test_a_tiff_whose_offsets_are_no_whole_numbers_is_named(kind: int) -> None:
    offsets, whole = (273).to_bytes(2, "little"), (4).to_bytes(2, "little")
    content = image_bytes(0, (16, 16), kind="TIFF")
    assert content.count(offsets + whole) == 1
    damaged = content.replace(offsets + whole, offsets + kind.to_bytes(2, "little"))
    with pytest.raises(DataError, match=r"scan\.tif: not an image that can be decoded: .*integer"):
        decode_image("scan.tif", damaged, 8, Preprocessing())


def test_memory_that_runs_out_is_no_bad_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", none_left)
    with pytest.raises(MemoryError):
        decode_image("x.png", image_bytes(0), 8, Preprocessing())
