"""From an image file to square RGB bytes, and what is wrong with a file: what packing asks its workers for."""

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from seal.data.archives import DataError, Encoded
from seal.sections import Preprocessing

MAX_PIXELS = 64_000_000  # below Pillow's own warning at 89 million
# Modes of at most eight bits a channel. Others (16-bit, float) have no one meaning as RGB bytes.
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
DEEP_MODES = {"I;16", "I;16L", "I;16B", "I;16N"}  # which preprocessing may scale
AVIF_CONFIGURATION = b"av1C"  # AV1's ISO binding, section 2.3: high_bitdepth and twelve_bit among its flags
CODE_STREAM = b"\xff\x4f\xff\x51"  # of JPEG 2000: its start, and the segment that says each component's bits
SUBFILE, BESIDE = 254, 0b101  # TIFF 6.0, NewSubfileType: another page's reduced copy, or a mask of it
DIGEST_BYTES = 16

# What Pillow raises on damaged files: libavif's errors are RuntimeErrors, and a TIFF's tags may be of any type. A
# MemoryError is none of them: it says more of the machine than of the file.
_UNDECODABLE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, OverflowError, RuntimeError, AssertionError, struct.error,
    zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


@dataclass(frozen=True)
class Decoded:
    """A chunk of files: their squares, digests of their contents, and what is wrong with those that have neither."""

    rows: bytes  # of uint8 [files, size, size, 3], black where a file is bad
    digests: bytes  # of uint8 [files, DIGEST_BYTES], zero where a file is bad
    bad: dict[int, str]  # position in the chunk to reason


def decode_checked(files: Sequence[tuple[str, Encoded | DataError]], size: int, how: Preprocessing) -> Decoded:
    """Named files, or the errors of reading them, as `Decoded`."""
    rows, digests, bad = [], [], dict[int, str]()
    for position, (name, content) in enumerate(files):
        try:
            if isinstance(content, DataError):
                raise content
            rows.append(decode_image(name, content, size, how).tobytes())
            digests.append(blake2b(bytes(content), digest_size=DIGEST_BYTES).digest())
        except DataError as error:
            bad[position] = str(error)
            rows.append(bytes(size * size * 3))
            digests.append(bytes(DIGEST_BYTES))
    return Decoded(b"".join(rows), b"".join(digests), bad)


def decode_image(name: str, content: Encoded, size: int, how: Preprocessing) -> NDArray[np.uint8]:
    """A named image file as uint8 [size, size, 3].

    Unless `how` says otherwise, greyscale, palette and CMYK become RGB, transparency is dropped, and an image of
    another size is resized by Pillow's bilinear filter, which widens with the scale when it shrinks (antialias); the
    sides' proportion is not kept. Raises DataError with the name of a file that is no image.
    """
    if len(content) == 0:
        raise DataError(f"{name}: an empty file")
    try:
        image = Image.fromarray(content) if isinstance(content, np.ndarray) else Image.open(BytesIO(content))
        if isinstance(image, TiffImageFile) and image.n_frames > 1:
            _to_its_page(name, image)
        _check(name, image, how)
        _check_depth(name, image, content)
        if how.orientation == "exif":
            ImageOps.exif_transpose(image, in_place=True)
        elif isinstance(image, TiffImageFile):
            image = _as_stored(image)
        image = _as_rgb(image, how)  # here the pixels are decoded
    except _UNDECODABLE as error:
        reason = re.sub(r" ?<_io\.BytesIO object at 0x[0-9a-f]+>", "", " ".join(str(error).split()))
        raise DataError(f"{name}: not an image that can be decoded: {reason}") from error

    if image.size != (size, size):
        image = _resized(image, size, how)
    return np.asarray(image)


def _to_its_page(name: str, image: TiffImageFile) -> None:
    """To the one page of a TIFF that is no reduced copy of another and no mask, as a pyramid has.

    Raises DataError where several are none: stains, depths or slides, of which none is the image.
    """
    pages = []
    for page in range(image.n_frames):
        image.seek(page)
        if not image.tag_v2.get(SUBFILE, 0) & BESIDE:
            pages.append(page)

    if len(pages) > 1:
        raise DataError(f"{name}: found {len(pages)} pages, expected one; save what is an image as a file of its own")
    image.seek(pages[0] if pages else 0)


def _check(name: str, image: Image.Image, how: Preprocessing) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{name}: found {image.width} x {image.height} pixels, expected at most {MAX_PIXELS}")

    modes = MODES | DEEP_MODES if how.deep == "scale" else MODES
    if image.mode not in modes:
        raise DataError(f"{name}: found colour mode {image.mode}, expected one of {', '.join(sorted(modes))}")


def _check_depth(name: str, image: Image.Image, content: Encoded) -> None:
    """Raises DataError for channels that are deeper than the mode tells: Pillow has none for colours of more than eight
    bits, and reads them by their high bytes, or rounded; and grey of twelve it does not scale."""
    bits = _bits(image, content)
    if bits > 8 and (image.mode not in DEEP_MODES or bits != 16):
        raise DataError(
            f"{name}: found {bits} bits a channel in a file of mode {image.mode}, expected at most 8 (`deep: scale` "
            "takes 16 of grey); save it at 8"
        )


def _bits(image: Image.Image, content: Encoded) -> int:
    """Of the deepest channel, as the file says it; 8 where its format has no more, or tells it by the mode."""
    if isinstance(image, TiffImageFile):
        return int(max(image.tag_v2.get(BITSPERSAMPLE, (1,))))
    if image.format == "JPEG2000" and image.mode not in DEEP_MODES:  # for which Pillow scales what is less than 16
        start = bytes(content).index(CODE_STREAM)
        components = int.from_bytes(content[start + 40 : start + 42], "big")
        return max(1 + (bits & 0x7F) for bits in content[start + 42 : start + 42 + 3 * components : 3])

    if image.format == "AVIF":  # after the name a byte of version, one of profile and level, and flags
        flags = bytes(content)[bytes(content).index(AVIF_CONFIGURATION) + 6]
        return 12 if flags & 0x20 else 10 if flags & 0x40 else 8

    bits = 8
    for tile in getattr(image, "tile", ()):
        if image.format == "PPM" and not isinstance(tile.args, str):  # a raw mode and the highest value
            bits = max(bits, tile.args[1].bit_length())
        elif re.search("SGI16|;16[BLN]", f"{tile.codec_name} {tile.args}"):
            bits = 16
    return bits


def _as_stored(image: TiffImageFile) -> Image.Image:
    """Without the turn that Pillow gives a TIFF as it reads the pixels; a copy, as its size is the turned one's."""
    turned = image.getexif().pop(Base.Orientation, 1) != 1
    return image.copy() if turned else image


def _as_rgb(image: Image.Image, how: Preprocessing) -> Image.Image:
    if image.mode in DEEP_MODES:
        levels = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))

    if how.alpha == "drop" or not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, how.alpha)
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def _resized(image: Image.Image, size: int, how: Preprocessing) -> Image.Image:
    """The square; what of the image it shows is a box: all of it, or the largest square in its middle."""
    box = (0.0, 0.0, float(image.width), float(image.height))
    if how.fit == "crop":
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)

    filter_ = Image.Resampling[how.interpolation.upper()]
    if how.antialias:
        return image.resize((size, size), filter_, box)
    return image.transform((size, size), Image.Transform.EXTENT, box, filter_)
