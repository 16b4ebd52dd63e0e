"""A user's own images: folders and lists of them, written and packed."""

import csv
import io
from pathlib import Path
from typing import Any

from seal.data.pack import Pack
from seal.data.places import Places
from seal.sections import Dataset, SplitFractions
from tests.fixtures_data import image_bytes, make

FRACTIONS = SplitFractions(test=0.2, val=0.1)
Files = dict[str, bytes]


def own(path: Path, **values: Any) -> Dataset:
    return Dataset(**{"source": "folder", "image_size": 8, "split": FRACTIONS, "path": str(path), **values})


def pack(path: Path, **values: Any) -> Pack:
    return make(Places(None, path.parent / "archives"), own(path, **values), "mine")


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def left_out(folder: Path) -> dict[str, str]:
    """File to reason, as the list has them."""
    path = folder.parent / "left_out/mine.csv"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len({row["file"] for row in rows}) == len(rows)
    return {row["file"]: row["reason"] for row in rows}


def animals(classes: tuple[str, ...] = ("cat", "dog"), count: int = 10) -> Files:
    return {f"{name}/{name}{number}.png": image_bytes(100 * place + number)
            for place, name in enumerate(classes) for number in range(count)}  # fmt: skip


def table(rows: list[tuple[str, ...]], header: tuple[str, ...] = ("file", "label")) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue().encode()
