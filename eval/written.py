"""What an evaluation leaves: values, arrays beside them, and its folder whole, or as it was before.

eval/evaluation.py writes a stage's JSON and folder by it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seal.errors import UserError
from seal.files import new_folder, put_in_place
from seal.record import atomic


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


@contextmanager
def whole_or_as_before(folder: Path) -> Iterator[Path]:
    """A folder to be made, which takes this one's place as the block ends well.

    Where DVC has deleted the last good result before a new one was refused, the refusal says how to get it back.
    """
    with new_folder(folder) as staging:
        try:
            yield staging / "made"
            put_in_place(staging / "made", folder)
        except UserError as error:
            if "DVC_STAGE" not in os.environ or folder.exists():
                raise
            raise UserError(f"{error}; `dvc checkout {folder}` brings the last result back") from error
