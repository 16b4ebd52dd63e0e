"""Where a dataset's archives or folder lie on this machine, and whether they are still as they were fetched.

Fetching, packing, `seal plan` and `seal doctor` look by it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from seal.data.archives import DataError
from seal.data.fetched import SourceRecord
from seal.data.folders import folder_sha256, levels_of, scan
from seal.data.sources import SOURCES, Source
from seal.record import file_sha256
from seal.sections import Dataset

DOWNLOADS = Path("data/archives")  # no DVC output: it survives every repro; also the place to drop archives by hand
MIRROR = "SEAL_DATA_MIRROR"


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


def locate(source: Source, dataset: Dataset, places: Places) -> list[Path] | None:
    """Where the source's archives lie now, or None. In the mirror, one of `mirror_names` may stand for all of them."""
    if dataset.path is not None:
        return [Path(dataset.path)] if Path(dataset.path).exists() else None

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
        paths.append(
            _unchanged(archive, candidates, dataset, cure=f"bring it back, or `dvc repro -f fetch@{record['name']}`")
        )
    return paths


def _unchanged(archive: SourceRecord, candidates: Sequence[Path], dataset: Dataset, *, cure: str) -> Path:
    """The first of the candidates that has the archive's SHA-256."""
    digests = []
    for path in filter(Path.exists, candidates):
        digests.append(content_sha256(path, dataset))
        if digests[-1] == archive["sha256"]:
            return path

    where = f"in {MIRROR} or {DOWNLOADS}" if dataset.path is None else f"or folder as {dataset.path}"
    now = f"sha256 {', '.join(digests)}" if digests else f"no such file {where}"
    expected = f"sha256 {archive['sha256']}, as it was fetched"
    raise DataError(f"{archive['name']}: found {now}, expected {expected}; {cure}")


def content_sha256(path: Path, dataset: Dataset) -> str:
    """SHA-256 of a file; of a folder, over the names and SHA-256 of the files that the dataset's layout reads."""
    if path.is_file():
        return file_sha256(path)

    return folder_sha256(scan(path, levels_of(dataset)), lambda name: file_sha256(path / name))
