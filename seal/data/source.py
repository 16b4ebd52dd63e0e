"""What is known about a dataset before it is there: the types of the tables in `sources` and `targets`.

All who read the tables take these values: fetching, packing, `seal plan` and `seal doctor`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from seal.data.archives import Members, open_archives
from seal.data.layouts import Item


@dataclass(frozen=True)
class Archive:
    """An official file: its name, its size, and the checksum that its publisher or a widely used loader gives.

    None stands for what nobody publishes. Without a checksum, what is in the archive is held against the source's
    counts, and its provenance says so.
    """

    name: str
    bytes: int | None
    md5: str | None = None
    sha256: str | None = None
    url: str | None = None  # None: nothing is downloaded

    @property
    def has_checksum(self) -> bool:
        return bool(self.md5 or self.sha256)


@dataclass(frozen=True)
class Source:
    """All that is known about a dataset before it is there."""

    homepage: str
    licence: str
    layout: Callable[[Members], list[Item]]
    archives: tuple[Archive, ...] = ()
    mirror_names: tuple[str, ...] = ()  # files, each of which may stand for all `archives` in SEAL_DATA_MIRROR
    package: str | None = None  # PACKAGE/FOLDER inside the installed packages, for data that ships with one
    instructions: str = ""  # how to get it by hand, where it needs that
    root: str = ""  # the folder inside the archives that file names are relative to
    classes: int | None = None
    # Official images of a class, by official split ("" where there is none): one number, or one for each class.
    per_class: Mapping[str, int | Mapping[str, int]] = field(default_factory=dict)
    images: Mapping[str, int] = field(default_factory=dict)  # official images of all classes, by official split
    open: Callable[[Sequence[Path]], AbstractContextManager[Members]] = open_archives

    @property
    def archive_names(self) -> list[str]:
        return [archive.name for archive in self.archives]

    @property
    def downloads(self) -> bool:
        """Whether every archive has an address to download it from."""
        return bool(self.archives) and all(archive.url for archive in self.archives)

    @property
    def official_images(self) -> dict[str, int]:
        """Official images of all classes, by official split, as far as `images` and `per_class` tell them."""
        totals = dict(self.images)
        for split, count in self.per_class.items():
            totals[split] = sum(count.values()) if isinstance(count, Mapping) else count * (self.classes or 0)
        return totals
