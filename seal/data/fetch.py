"""Find a dataset's archives, or download them, and check them. `python -m seal.data.fetch NAME` records them."""

import sys
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from seal.data.archives import DataError
from seal.data.download import download, mismatch
from seal.data.fetched import RECORDS, SCHEMA, SourceRecord
from seal.data.folders import levels_of, scan
from seal.data.places import DOWNLOADS, MIRROR, Places, content_sha256, locate, source_of
from seal.data.sources import Source
from seal.record import write_json
from seal.sections import Dataset
from seal.stage import Report, dataset_stage

NO_CHECKSUM = "no official checksum is published"


def fetch(name: str, dataset: Dataset, places: Places, report: Report) -> SourceRecord:
    """What data/sources/NAME.json holds: status present with the archives, or missing with what to do about it.

    Raises DataError for a download that has an official archive's name but not its checksum.
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
    archives = [_archive_record(path, source, dataset, places) for path in paths]
    return record | {"status": "present", "archives": archives}


def _archive_record(path: Path, source: Source, dataset: Dataset, places: Places) -> SourceRecord:
    """Name, size and SHA-256 of a file or folder, and whether it is the publisher's. Raises DataError for a download
    that only bears an official archive's name; a copy in the mirror or by its `path` may hold fewer images."""
    official = dict(zip(source.archive_names, source.archives, strict=True))
    archive = official.get(path.name) if path.is_file() else None
    problem = mismatch(path, archive) if archive else "not a name of the official archives"
    if archive and problem and dataset.path is None and path.parent != places.mirror:
        raise DataError(f"{path.name}: {problem}; remove it and run again, or get it from {source.homepage}")

    files = [path] if path.is_file() else [path / name for name in scan(path, levels_of(dataset)).files]
    record = {
        "name": path.name,
        "bytes": sum(file.stat().st_size for file in files),
        "sha256": content_sha256(path, dataset),
        "official": not problem,
    }
    if archive and not problem and not archive.has_checksum:
        record |= {"official": False, "checksum": NO_CHECKSUM}  # so its contents are held against the counts
    return record


def _what_to_do(name: str, dataset: Dataset, source: Source, places: Places, problem: str) -> str:
    """How to bring a dataset that is missing; `problem`, what stood in the way so far, comes first."""
    again = f"then `dvc repro -f fetch@{name}`"
    if dataset.path is not None:
        return (
            f"datasets.{name}.path names no folder or archive; make it hold CLASS/IMAGE files, or correct it, {again}"
        )
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
