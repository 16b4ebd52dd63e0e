"""A bundle as a file: what its members may be, and that each of them is what its checksum says.

A bundle comes from elsewhere: it is data alone, of a few kinds, below its own folder. Anything else is refused before a
byte is written.
"""

import hashlib
import json
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError

from seal.data.archives import climbs_out
from seal.errors import UserError, first_problem
from seal.record import file_sha256

FORMAT = 1
CHECKSUMS, FACTS, RECORD, LISTS = "checksums.txt", "bundle.json", "results", "params"
# All other members are the record's, or lists of images.
OWN = (CHECKSUMS, FACTS, "README.md", "LICENSE", "CITATION.cff", "params.yaml")
SUFFIXES = (".csv", ".json", ".npz", ".safetensors")
AGAIN = "download it again"


class BrokenBundle(UserError):
    """A file that is no bundle, or not the one that was written."""


class Facts(BaseModel):
    """bundle.json: what a bundle says of itself."""

    model_config = ConfigDict(frozen=True, strict=True)
    format: int
    tier: str
    version: str  # of the artifact that wrote it
    weights: list[str]  # runs whose last weights it holds
    gone: dict[str, str]  # primary runs without them, and the command that makes them


class Bundle:
    """An open bundle, whole."""

    def __init__(self, archive: zipfile.ZipFile, facts: Facts, checksums: Mapping[str, str]) -> None:
        self.facts, self.checksums, self._archive = facts, checksums, archive

    def extract(self, prefixes: tuple[str, ...], folder: Path) -> None:
        """Write the members that begin so below the folder."""
        for name in self.checksums:
            if name.startswith(prefixes):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with self._archive.open(name) as source, target.open("wb") as file:
                    while block := source.read(2**20):
                        file.write(block)


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle once all of its members are what its checksums say. Raises BrokenBundle."""
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "nothing"
        raise BrokenBundle(f"{path}: found {kind}, expected a bundle; `make bundle` writes one")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise BrokenBundle(f"{path}: not a whole zip ({error}), expected a bundle; {AGAIN}") from None

    with archive:
        _only_data(path, archive)
        facts = _facts(path, archive)
        checksums = _checksums(path, archive)
        for name, expected in checksums.items():
            if _sha256(path, archive, name) != expected:
                raise BrokenBundle(f"{path}: {name} is not what its checksum says; {AGAIN}")
        yield Bundle(archive, facts, checksums)


def _only_data(path: Path, archive: zipfile.ZipFile) -> None:
    """Both lists are there, and every member is a file of a known kind, once, below the bundle's own folder."""
    for name in (FACTS, CHECKSUMS):  # of a bundle that was cut, zipfile may find a zip that is stored within
        if name not in archive.namelist():
            raise BrokenBundle(f"{path}: no {name}, expected a whole bundle; {AGAIN}")

    seen = set()
    for member in archive.infolist():
        name = member.filename
        if climbs_out(name):
            raise BrokenBundle(f"{path}: {name!r} climbs out of the folder, expected names below it; do not unpack it")
        mode = (member.external_attr >> 16) & 0o170000
        if mode not in (0, stat.S_IFREG) or member.flag_bits & 1 or member.compress_type != zipfile.ZIP_STORED:
            raise BrokenBundle(f"{path}: {name!r} is a link, encrypted or compressed, expected plain files; {AGAIN}")
        if name not in OWN and not is_recorded(name):
            raise BrokenBundle(f"{path}: {name!r} is no data of a record, expected a bundle; `make bundle` writes one")
        if name in seen:
            raise BrokenBundle(f"{path}: {name!r} is there twice, expected once; {AGAIN}")
        seen.add(name)


def is_recorded(name: str) -> bool:
    """Whether a member's name is that of the record's data, or of a list of images."""
    place = PurePosixPath(name)
    is_below = len(place.parts) > 1 and place.parts[0] in (RECORD, LISTS)
    return is_below and place.suffix in SUFFIXES and not climbs_out(name)


def _facts(path: Path, archive: zipfile.ZipFile) -> Facts:
    try:
        raw = json.loads(_read(path, archive, FACTS))
        number = raw["format"]
    except (ValueError, KeyError, TypeError):
        raise BrokenBundle(f"{path}: {FACTS} names no format, expected a bundle's; {AGAIN}") from None

    if number != FORMAT:
        writer = f"version {raw.get('version')} of the artifact"
        raise BrokenBundle(f"{path}: found format {number}, by {writer}, expected {FORMAT}; check it by that version")
    try:
        return Facts.model_validate(raw)
    except ValidationError as error:
        raise BrokenBundle(f"{path}: {FACTS}: {first_problem(error)}; {AGAIN}") from None


def _checksums(path: Path, archive: zipfile.ZipFile) -> dict[str, str]:
    """Member -> SHA-256, of every member but the list itself."""
    checksums = {}
    for line in _read(path, archive, CHECKSUMS).decode("utf-8", "replace").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if match is None:
            raise BrokenBundle(f"{path}: {CHECKSUMS}: found {line[:80]!r}, expected `sha256  name`; {AGAIN}")
        checksums[match[2]] = match[1]

    members = set(archive.namelist()) - {CHECKSUMS}
    if lost := sorted(checksums.keys() - members):
        raise BrokenBundle(f"{path}: {lost[0]} is missing, one of {len(lost)} that {CHECKSUMS} names; {AGAIN}")
    if foreign := sorted(members - checksums.keys()):
        raise BrokenBundle(f"{path}: {foreign[0]} is not in {CHECKSUMS}, expected every file there; {AGAIN}")
    return checksums


def _read(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except zipfile.BadZipFile as error:
        raise BrokenBundle(f"{path}: {error}; {AGAIN}") from None


def _sha256(path: Path, archive: zipfile.ZipFile, name: str) -> str:
    try:
        with archive.open(name) as member:
            return hashlib.file_digest(member, "sha256").hexdigest()  # type: ignore[arg-type]
    except (zipfile.BadZipFile, EOFError) as error:
        raise BrokenBundle(f"{path}: {name} is damaged ({error}); {AGAIN}") from None


def checksum_lines(contents: Mapping[str, bytes | Path]) -> str:
    """As `sha256sum` writes them."""
    lines = []
    for name in sorted(contents):
        content = contents[name]
        digest = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else file_sha256(content)
        lines.append(f"{digest}  {name}\n")
    return "".join(lines)
