"""Find a dataset's archives, or download them, and check them. `python -m seal.data.fetch NAME` records them.

Packing finds them again by the record, and `seal plan` and `seal doctor` ask what is there.
"""

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seal.data.archives import DataError
from seal.data.download import Report, download, mismatch
from seal.data.folders import class_files
from seal.data.sources import SOURCES, Source
from seal.errors import short
from seal.record import file_sha256, read_json, write_json
from seal.sections import Dataset
from seal.stage import dataset_stage

RECORDS = Path("data/sources")
DOWNLOADS = Path("data/archives")  # no DVC output: it survives every repro; also the place to drop archives by hand
MIRROR = "SEAL_DATA_MIRROR"
SCHEMA = 1
NO_CHECKSUM = "no official checksum is published"

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


@dataclass(frozen=True)
class Places:
    """Folders to look in: the mirror first, where one is set, then the downloads."""

    mirror: Path | None
    downloads: Path = DOWNLOADS

    @classmethod
    def of_environment(cls) -> "Places":
        """Raises DataError where SEAL_DATA_MIRROR names no folder."""
        value = os.environ.get(MIRROR)
        if value and not Path(value).is_dir():
            raise DataError(f"{MIRROR}: found {value}, which is no folder; correct or unset it")
        return cls(Path(value) if value else None)

    def of_source(self, source: Source) -> list[Path]:
        """Those in which the source's archives may lie: of data that ships with a package, that package's alone."""
        if source.package is None:
            return [self.downloads] if self.mirror is None else [self.mirror, self.downloads]

        package, _, inside = source.package.partition("/")
        spec = find_spec(package)  # finds it without importing it
        return [Path(spec.origin).parent / inside] if spec and spec.origin else []


def source_of(dataset: Dataset) -> Source:
    if dataset.source not in SOURCES:
        raise DataError(f"source is {dataset.source}, expected one of {', '.join(SOURCES)}")
    return SOURCES[dataset.source]


def fetch(name: str, dataset: Dataset, places: Places, report: Report) -> SourceRecord:
    """What data/sources/NAME.json holds: status present with the archives, or missing with what to do about it.

    Raises DataError for a file outside the mirror that has an official archive's name but not its checksum.
    """
    source, problem = source_of(dataset), ""
    record: SourceRecord = {"schema": SCHEMA, "name": name, "source": dataset.source}
    record |= {"homepage": source.homepage, "licence": source.licence}

    paths = locate(source, dataset, places)
    if paths is None and source.downloads:
        try:
            paths = [download(archive, places.downloads, report) for archive in source.archives]
        except (OSError, HTTPException) as error:  # URLError is an OSError
            problem = f"the download failed ({error}); "

    if paths is None:
        return record | {"status": "missing", "reason": _what_to_do(name, dataset, source, places, problem)}
    archives = [_archive_record(path, source, places) for path in paths]
    return record | {"status": "present", "archives": archives}


def locate(source: Source, dataset: Dataset, places: Places) -> list[Path] | None:
    """Where the source's archives lie now, or None. In the mirror, one of `mirror_names` may stand for all of them."""
    if dataset.path is not None:
        return [Path(dataset.path)] if Path(dataset.path).is_dir() else None

    candidates = []
    for folder in places.of_source(source):
        candidates.append([folder / name for name in source.archive_names])
        if folder == places.mirror:
            candidates += [[folder / name] for name in source.mirror_names]

    return next((paths for paths in candidates if all(map(Path.is_file, paths))), None)


def relocate(record: SourceRecord, dataset: Dataset, places: Places) -> list[Path]:
    """The archives that a record describes, by name and SHA-256. Raises DataError where one is gone or changed."""
    folders = places.of_source(source_of(dataset))
    paths = []
    for archive in record["archives"]:
        candidates = [folder / archive["name"] for folder in folders]
        if dataset.path is not None:
            candidates = [Path(dataset.path)]
        paths.append(_unchanged(archive, candidates, cure=f"bring it back, or `dvc repro -f fetch@{record['name']}`"))
    return paths


def _unchanged(archive: SourceRecord, candidates: Sequence[Path], *, cure: str) -> Path:
    """The first of the candidates that has the archive's SHA-256."""
    digests = []
    for path in filter(Path.exists, candidates):
        digests.append(content_sha256(path))
        if digests[-1] == archive["sha256"]:
            return path

    now = f"sha256 {', '.join(digests)}" if digests else f"no such file in {MIRROR} or {DOWNLOADS}"
    expected = f"sha256 {archive['sha256']}, as it was fetched"
    raise DataError(f"{archive['name']}: found {now}, expected {expected}; {cure}")


def content_sha256(path: Path) -> str:
    """SHA-256 of a file; of a folder, over the names and SHA-256 of its class folders' files."""
    if path.is_file():
        return file_sha256(path)

    digest = hashlib.sha256()
    for file in class_files(path):
        digest.update(f"{file_sha256(file)} {file.relative_to(path).as_posix()}\n".encode())
    return digest.hexdigest()


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
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "it all"
        raise DataError(f"{path}: {short(place)}: {problem['msg']}; {again}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({short(str(error))}); {again}") from None
    if record["name"] != name:
        raise DataError(f"{path}: found the record of {short(record['name'])}; {again}")
    return record


def _archive_record(path: Path, source: Source, places: Places) -> SourceRecord:
    """Name, size and SHA-256 of a file or folder, and whether it is the publisher's. Raises DataError for one that only
    bears an official archive's name, but in the mirror, which may hold fewer images."""
    archive = next((archive for archive in source.archives if archive.name == path.name), None)
    problem = mismatch(path, archive) if archive else "not a name of the official archives"
    if archive and problem and path.parent != places.mirror:
        raise DataError(f"{path.name}: {problem}; remove it and run again, or get it from {source.homepage}")

    files = [path] if path.is_file() else class_files(path)
    record = {
        "name": path.name,
        "bytes": sum(file.stat().st_size for file in files),
        "sha256": content_sha256(path),
        "official": not problem,
    }
    if archive and not problem and not archive.has_checksum:
        record |= {"official": False, "checksum": NO_CHECKSUM}  # so its contents are held against the counts
    return record


def _what_to_do(name: str, dataset: Dataset, source: Source, places: Places, problem: str) -> str:
    """How to bring a dataset that is missing; `problem`, what stood in the way so far, comes first."""
    again = f"then `dvc repro -f fetch@{name}`"
    if dataset.path is not None:
        return f"datasets.{name}.path names no folder; make it hold CLASS/IMAGE files, or correct it, {again}"
    if source.package is not None:
        package = source.package.partition("/")[0]
        return f"the installed package {package} does not hold {source.archives[0].name}; install it, {again}"

    official = " and ".join(source.archive_names)
    if places.mirror is not None:
        names = dict.fromkeys([official, *source.mirror_names])
        problem += f"{MIRROR} is set, but holds none of {', '.join(names)}; "

    lacking = _lacking(source, places)
    if len(lacking) < len(source.archives):
        here = len(source.archives) - len(lacking)
        problem += f"found {here} of {len(source.archives)} archives, but not {', '.join(lacking)}; "

    how = source.instructions or f"get {official} from {source.homepage}"
    return f"{problem}{how}; put it in {DOWNLOADS} or in the folder that {MIRROR} names, {again}"


def _lacking(source: Source, places: Places) -> list[str]:
    """The archives that lie in no place."""
    lacking = dict.fromkeys(source.archive_names)
    for folder in places.of_source(source):
        for name in source.archive_names:
            if (folder / name).is_file():
                lacking.pop(name, None)
    return list(lacking)


def main(arguments: Sequence[str] | None = None) -> None:
    with dataset_stage("fetch", "bytes", arguments) as (name, dataset, report):
        record = fetch(name, dataset, Places.of_environment(), report)
        write_json(RECORDS / f"{name}.json", record)
    if record["status"] == "missing":
        print(f"fetch@{name}: missing: {record['reason']}", file=sys.stderr)
    for archive in record.get("archives", []):
        kind = "the official checksum" if archive["official"] else archive.get("checksum", "not the official checksum")
        print(f"fetch@{name}: {archive['name']}, {archive['bytes']} bytes, {kind}", file=sys.stderr)


if __name__ == "__main__":
    main()
