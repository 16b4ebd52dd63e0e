"""One file per dataset: how a pack is read, by training and evaluations; `packing` writes it.

A pack is a safetensors file: for each split `<split>/images` uint8 [N, H, W, 3], `<split>/labels` int64 [N] and
`<split>/files` (names, joined by line breaks, as uint8), sorted by (class, file); and one metadata entry, JSON, with
the class names and the provenance. One entry, because safetensors writes several in random order.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from seal.data.archives import DataError
from seal.errors import UserError
from seal.record import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

PACKS = Path("data/packs")
SPLITS = ("train", "val", "test")
METADATA = "pack"
SCHEMA = 1


class DatasetMissing(UserError):
    """The dataset is not there; the message says how to get it. A training ends, an evaluation is SKIPPED-DATA."""


@dataclass(frozen=True)
class Split:
    images: "Tensor"  # uint8 [N, H, W, 3], mapped from the file
    labels: "Tensor"  # int64 [N], positions in Pack.classes
    files: list[str]  # [N], relative to the dataset's root


class Pack:
    """An open pack. `pack["train"]`, `pack["val"]` and `pack["test"]` are there always; each may have no image."""

    def __init__(self, path: Path, metadata: dict[str, Any]) -> None:
        self.path = path
        self.name: str = metadata["name"]
        self.classes: list[str] = metadata["classes"]
        self.provenance: dict[str, Any] = metadata["provenance"]

    def __getitem__(self, split: str) -> Split:
        try:
            with safe_open(self.path, framework="pt") as file:
                images, labels = file.get_tensor(f"{split}/images"), file.get_tensor(f"{split}/labels")
                names = bytes(file.get_tensor(f"{split}/files").numpy()).decode("utf-8")
        except (SafetensorError, ValueError, TypeError) as error:
            raise DataError(f"{self.path}: {split}: {error}; run `dvc repro -f pack@{self.name}`") from None
        opened = Split(images, labels, names.split("\n") if names else [])
        self._is_whole(split, opened)
        return opened

    def _is_whole(self, split: str, opened: Split) -> None:
        """Raises DataError where images, labels and names are not one another's."""
        images, labels, count = opened.images, opened.labels, len(opened.files)
        shapes = (images.ndim, images.shape[-1:], len(images), tuple(labels.shape)) == (4, (3,), count, (count,))
        types = str(images.dtype) == "torch.uint8" and str(labels.dtype) == "torch.int64"
        known = not count or bool(shapes and int(labels.min()) >= 0 and int(labels.max()) < len(self.classes))
        if not (shapes and types and known):
            raise DataError(
                f"{self.path}: {split}: found images {tuple(images.shape)} and labels {tuple(labels.shape)}, expected "
                f"{count} of each, labels from 0 to {len(self.classes) - 1}; run `dvc repro -f pack@{self.name}`"
            )

    @cached_property
    def sha256(self) -> str:
        """Of the whole file."""
        return file_sha256(self.path)


def open_pack(path: Path | str) -> Pack:
    """Open a pack; tensors are mapped, not read, when asked for.

    Raises DatasetMissing where the dataset was not there to be packed, DataError for a file that is no whole pack.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; run `dvc repro pack@{path.stem}`")

    try:
        with safe_open(path, framework="np") as file:
            metadata = json.loads((file.metadata() or {})[METADATA])
    except (SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not a whole pack ({error}); run `dvc repro -f pack@{path.stem}`") from error

    if not isinstance(metadata, dict) or not metadata.keys() >= {"schema", "name", "status"}:
        raise DataError(f"{path}: not a pack's metadata; run `dvc repro -f pack@{path.stem}`")
    if metadata["schema"] != SCHEMA:
        schemas = f"found schema {metadata['schema']}, expected {SCHEMA}"
        raise DataError(f"{path}: {schemas}; run `dvc repro -f pack@{path.stem}`")
    if metadata["name"] != path.stem:
        raise DataError(f"{path}: found the pack of {metadata['name']}; run `dvc repro -f pack@{path.stem}`")
    status, reason = metadata["status"], metadata.get("reason")
    if status == "missing" and isinstance(reason, str):
        raise DatasetMissing(reason)
    if status != "present":
        expected = "expected present, or missing and a reason"
        raise DataError(f"{path}: found status {status!r}, {expected}; run `dvc repro -f pack@{path.stem}`")
    facts = metadata.get("classes"), metadata.get("provenance")
    if not isinstance(facts[0], list) or not isinstance(facts[1], dict):
        raise DataError(f"{path}: found no classes or provenance; run `dvc repro -f pack@{path.stem}`")
    return Pack(path, metadata)
