"""From an image file to square RGB bytes: what packing asks its workers for."""

import re
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seal.data.archives import DataError, Encoded

MAX_PIXELS = 64_000_000  # below Pillow's own warning at 89 million
# Modes of at most eight bits a channel. Others (16-bit, float) have no one meaning as RGB bytes.
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}

# What Pillow raises on damaged files.
_UNDECODABLE = (
    OSError, SyntaxError, ValueError, IndexError, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


def decode_images(files: Sequence[tuple[str, Encoded]], size: int) -> bytes:
    """Named image files as the bytes of uint8 [len(files), size, size, 3].

    Greyscale, palette and CMYK become RGB; transparency is dropped. An image of another size is resized by Pillow's
    bilinear filter, which widens with the scale when it shrinks (antialias); the sides' proportion is not kept.
    Raises DataError with the name of a file that is no image.
    """
    return b"".join(_decode(name, content, size).tobytes() for name, content in files)


def _decode(name: str, content: Encoded, size: int) -> NDArray[np.uint8]:
    try:
        image = Image.fromarray(content) if isinstance(content, np.ndarray) else Image.open(BytesIO(content))
        _check(name, image)
        image = image.convert("RGB")  # here the pixels are decoded
    except _UNDECODABLE as error:
        reason = re.sub(r" ?<_io\.BytesIO object at 0x[0-9a-f]+>", "", " ".join(str(error).split()))
        raise DataError(f"{name}: not an image that can be decoded: {reason}") from error

    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _check(name: str, image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{name}: found {image.width} x {image.height} pixels, expected at most {MAX_PIXELS}")
    if image.mode not in MODES:
        raise DataError(f"{name}: found colour mode {image.mode}, expected one of {', '.join(sorted(MODES))}")
