"""A pack's file, written image by image: packing keeps no more of it in memory than a block of rows.

The library's own writer takes whole tensors, which for a million images are 12 GB; tests hold this one to its bytes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from seal.data.download import full_disk_is_an_error, require_space
from seal.data.layouts import files_of, labels_of
from seal.data.pack import METADATA, SCHEMA, SPLITS
from seal.data.selection import Selection
from seal.record import atomic

BLOCK = 1024  # images that are copied at a time
DTYPES = {"int64": "I64", "uint8": "U8"}


@dataclass(frozen=True)
class SplitRows:
    """A split to be written."""

    rows: NDArray[np.int64]  # positions of its images among those that were decoded
    labels: NDArray[np.int64]
    files: Sequence[str]


def split_rows(selection: Selection, files: Sequence[str]) -> dict[str, SplitRows]:
    """A selection's splits; `files` are those that were decoded, in that order."""
    position = {file: row for row, file in enumerate(files)}
    label = {name: index for index, name in enumerate(selection.classes)}

    splits = {}
    for split, items in selection.splits.items():
        names = list(files_of(items))
        rows = np.fromiter(map(position.__getitem__, names), np.int64, len(items))
        labels = np.fromiter(map(label.__getitem__, labels_of(items)), np.int64, len(items))
        splits[split] = SplitRows(rows, labels, names)
    return splits


def write_pack(
    target: Path, images: NDArray[np.uint8], splits: Mapping[str, SplitRows], facts: Mapping[str, Any]
) -> None:
    """The pack of images [N, size, size, 3], whole or not at all. Raises DataError where there is no room for it."""
    tensors: dict[str, NDArray[Any] | _Chosen] = {}
    for split in SPLITS:
        part = splits[split]
        tensors[f"{split}/labels"] = part.labels
        tensors[f"{split}/images"] = _Chosen(images, part.rows)
        tensors[f"{split}/files"] = np.frombuffer("\n".join(part.files).encode(), np.uint8)

    target.parent.mkdir(parents=True, exist_ok=True)
    require_space(target.parent, sum(tensor.nbytes for tensor in tensors.values()))
    metadata = {METADATA: json.dumps({"schema": SCHEMA, **facts}, sort_keys=True)}
    with full_disk_is_an_error(target.parent), atomic(target) as temporary, temporary.open("wb") as file:
        _write(file, tensors, metadata)


@dataclass(frozen=True)
class _Chosen:
    """Rows of an array that are copied only as they are written."""

    array: NDArray[np.uint8]
    rows: NDArray[np.int64]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.rows), *self.array.shape[1:]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape))

    def write(self, file: BinaryIO) -> None:
        array = self.array
        for start in range(0, len(self.rows), BLOCK):
            if isinstance(array, np.memmap):  # mapped anew, or all that was read would count as this process's memory
                array = np.memmap(str(array.filename), array.dtype, "r", shape=array.shape)
            file.write(np.ascontiguousarray(array[self.rows[start : start + BLOCK]]).data)


def _write(file: BinaryIO, tensors: Mapping[str, "NDArray[Any] | _Chosen"], metadata: Mapping[str, str]) -> None:
    """The format of safetensors: the header's length, the header, padded to 8 bytes, and the tensors, those of larger
    numbers first and else by name (https://github.com/huggingface/safetensors#format)."""
    header: dict[str, Any] = {"__metadata__": metadata}
    names, end = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name)), 0
    for name in names:
        tensor, begin = tensors[name], end
        end += tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype.name], "shape": tensor.shape, "data_offsets": [begin, end]}

    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        tensor = tensors[name]
        if isinstance(tensor, _Chosen):
            tensor.write(file)
        else:
            file.write(tensor.tobytes())
