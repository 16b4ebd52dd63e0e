"""data/sources/NAME.json: what a fetch has found, as it is written and read. Fetching and packing share it."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seal.data.archives import DataError
from seal.errors import first_problem, short
from seal.record import read_json

RECORDS = Path("data/sources")
SCHEMA = 1

SourceRecord = dict[str, Any]  # data/sources/NAME.json


class FetchedArchive(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    name: str
    bytes: int
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    official: bool


class Fetched(BaseModel):
    """What data/sources/NAME.json has to say."""

    model_config = ConfigDict(strict=True, extra="allow")
    name: str
    source: str
    homepage: str
    licence: str
    status: Literal["present", "missing"]
    reason: str | None = None
    archives: list[FetchedArchive] = []

    @model_validator(mode="after")
    def _says_what_is_there(self) -> Self:
        if (self.status == "present") != bool(self.archives) or (self.status == "missing") != bool(self.reason):
            raise ValueError("found neither archives nor a reason why there are none")
        return self


def read_record(name: str) -> SourceRecord:
    """The record that a fetch of this dataset has written."""
    path = RECORDS / f"{name}.json"
    if not path.is_file():
        raise DataError(f"{path}: no such file; run `dvc repro fetch@{name}`")

    again = f"run `dvc repro -f fetch@{name}`"
    try:
        record: SourceRecord = read_json(path)
        Fetched.model_validate(record)
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}; {again}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({short(str(error))}); {again}") from None

    if record["name"] != name:
        raise DataError(f"{path}: found the record of {short(record['name'])}; {again}")
    return record
