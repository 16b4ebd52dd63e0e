"""From image files to square RGB bytes."""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Literal

import numpy as np
import pytest
from PIL import Image, features

from seal.data.archives import DataError
from seal.data.images import _check_depth, decode_image
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


def png(bits: int, kind: int, channels: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = 8 * (b"\0" + bytes(range(channels * bits)))
    header = struct.pack(">IIBBBBB", 8, 8, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(bits: Sequence[int], kind: int) -> bytes:
    """An uncompressed one, of shorts in the order of an Intel machine."""
    of_bits = b"".join(struct.pack("<H", channel) for channel in bits)
    content = bytes(8 * sum(bits))
    tags = {256: 8, 257: 8, 258: 300 if len(bits) > 1 else bits[0], 259: 1, 262: kind, 273: 400, 277: len(bits), 278: 8,
            279: len(content)}  # fmt: skip
    entries = [struct.pack("<HHII", tag, 3, len(bits) if tag == 258 else 1, value) for tag, value in tags.items()]
    header = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries)
    return header.ljust(300, b"\0") + of_bits.ljust(100, b"\0") + content


def jpeg_2000(bits: int) -> bytes:
    """Its header's bits alone are these."""
    content = bytearray(image_bytes(0, (8, 8), kind="JPEG2000"))
    start = content.index(b"\xff\x4f\xff\x51") + 42
    content[start : start + 9 : 3] = 3 * bytes([bits - 1])
    return bytes(content)


def saved(kind: str, mode: str, **how: int) -> bytes:
    file = BytesIO()
    Image.new(mode, (8, 8)).save(file, kind, **how)
    return file.getvalue()


DEEPER = {
    "png": png(16, 2, 3), "png with alpha": png(16, 6, 4), "grey png with alpha": png(16, 4, 2),
    "tiff": tiff((16, 16, 16), 2), "cmyk tiff": tiff((16, 16, 16, 16), 5), "grey tiff of 12": tiff((12,), 1),
    "ppm": b"P6 8 8 65535\n" + bytes(384), "ppm of 10": b"P6 8 8 1023\n" + bytes(384),
    "ppm in words": b"P3 8 8 4095\n" + 192 * b"1 ", "jpeg 2000": jpeg_2000(12),
    "sgi": saved("SGI", "RGB", bpc=2), "grey sgi": saved("SGI", "L", bpc=2),
}  # fmt: skip
SHALLOW = {
    "png": png(8, 2, 3), "png with alpha": png(8, 6, 4), "tiff": tiff((8, 8, 8), 2), "cmyk tiff": tiff((8,) * 4, 5),
    "ppm": b"P6 8 8 255\n" + bytes(192), "ppm of 7": b"P6 8 8 100\n" + bytes(192), "pbm": b"P4 8 8\n" + bytes(8),
    "ppm in words": b"P3 8 8 255\n" + 192 * b"1 ", "jpeg 2000": jpeg_2000(8), "sgi": saved("SGI", "RGB"),
}  # fmt: skip
DEEP_GREY = {
    "png": png(16, 0, 1), "tiff": tiff((16,), 1), "jpeg 2000": saved("JPEG2000", "I;16"),
}  # fmt: skip


@pytest.mark.parametrize("deep", ["error", "scale"])
@pytest.mark.parametrize("kind", DEEPER)
def test_deeper_channels_than_the_mode_tells_are_refused(kind: str, deep: Literal["error", "scale"]) -> None:
    with pytest.raises(DataError, match=r"x: found (1[026] bits a channel.*, expected at most 8|colour mode I;16)"):
        decode_image("x", DEEPER[kind], 8, Preprocessing(deep=deep))


@pytest.mark.parametrize("kind", SHALLOW)
def test_eight_bits_of_every_format_are_taken(kind: str) -> None:
    decode_image("x", SHALLOW[kind], 8, Preprocessing())


@pytest.mark.parametrize("kind", DEEP_GREY)
def test_sixteen_bits_of_grey_are_taken_where_they_are_to_be_scaled(kind: str) -> None:
    decode_image("x", DEEP_GREY[kind], 8, Preprocessing(deep="scale"))


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    header = bytearray(image_bytes(0, (8, 8), "1"))
    start = header.index(b"IHDR") + 4
    header[start : start + 8] = (9000).to_bytes(4, "big") + (9000).to_bytes(4, "big")
    header[start + 13 : start + 17] = zlib.crc32(header[start - 4 : start + 13]).to_bytes(4, "big")
    with pytest.raises(DataError, match=r"big\.png: found 9000 x 9000 pixels"):
        decode_image("big.png", bytes(header), 8, Preprocessing())


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without libavif")
def test_a_deeper_avif_is_refused_by_its_configuration() -> None:
    """Pillow writes none that is deeper, and reads none whose configuration is not its stream's."""
    content = bytearray(image_bytes(0, (8, 8), kind="AVIF"))
    image = Image.open(BytesIO(content))
    _check_depth("x.avif", image, bytes(content))
    for flags, bits in ((0x40, 10), (0x60, 12)):
        content[content.index(b"av1C") + 6] |= flags
        with pytest.raises(DataError, match=rf"^x\.avif: found {bits} bits a channel in a file of mode RGB"):
            _check_depth("x.avif", image, bytes(content))


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


def pages(*of_subfile: int | None) -> bytes:
    """A TIFF of grey pages, each darker than the one before; the first is 8 pixels wide, the others 4."""
    file = BytesIO()
    images = [Image.new("L", (4 if number else 8, 8), 200 - 50 * number) for number in range(len(of_subfile))]
    for image, kind in zip(images, of_subfile, strict=True):
        image.encoderinfo = {"tiffinfo": {} if kind is None else {254: kind}}
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:], **images[0].encoderinfo)
    return file.getvalue()


@pytest.mark.parametrize("of_subfile", [(None, None), (2, 2, 2), (None, 1, None)], ids=["plain", "numbered", "a thumb"])
def test_a_tiff_of_several_pages_is_refused(of_subfile: Sequence[int | None]) -> None:
    count = len(of_subfile) - of_subfile.count(1)
    with pytest.raises(DataError, match=rf"^slide\.tif: found {count} pages, expected one; save what is an image"):
        decode_image("slide.tif", pages(*of_subfile), 8, Preprocessing())


@pytest.mark.parametrize(
    ("of_subfile", "grey"),
    [((None,), 200), ((0, 1, 1), 200), ((None, 4), 200), ((1, None), 150), ((1, 1), 200)],
    ids=["one", "a pyramid", "a mask", "its thumb first", "thumbs alone"],
)
def test_a_page_with_reduced_copies_or_a_mask_is_the_image(of_subfile: Sequence[int | None], grey: int) -> None:
    pixels = decode_image("slide.tif", pages(*of_subfile), 8, Preprocessing())
    assert (pixels == grey).all()


def test_memory_that_runs_out_is_no_bad_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", none_left)
    with pytest.raises(MemoryError):
        decode_image("x.png", image_bytes(0), 8, Preprocessing())
