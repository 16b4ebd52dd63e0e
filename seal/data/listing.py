"""folders.json: what users' own folders of images hold now, a digest for each dataset with a `path` that is here.

`fetch` depends on that file, so that DVC sees an image more, less or changed. `python -m seal.data.listing` writes it
anew where a folder has changed: `make repro`, `seal study` and `seal submit` begin with it. A file whose size and times
are as they were is not read again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seal.config import load_params
from seal.data.folders import Scan, folder_sha256, levels_of, readable, scan
from seal.errors import one_line_errors
from seal.record import file_sha256, read_json, write_json
from seal.sections import Dataset
from seal.stage import Report, progress_bar

FOLDERS = Path("folders.json")
STATES = Path("data/folders")  # what is known of each file; may be deleted at any time

States = dict[str, list[Any]]  # of a file's name: size, times of change and of status in ns, inode, SHA-256


def update(datasets: Mapping[str, Dataset], report: Report) -> bool:
    """Bring FOLDERS up to date; whether it has changed. Raises DataError for what cannot be read."""
    listings = {}
    for name, dataset in sorted(datasets.items()):
        if dataset.path is not None and Path(dataset.path).exists():
            listings[name] = listing(dataset, STATES / f"{name}.json", report)

    if listings == (_known(FOLDERS) if FOLDERS.is_file() else {}):
        return False
    write_json(FOLDERS, listings)
    return True


def listing(dataset: Dataset, kept: Path, report: Report) -> dict[str, Any]:
    """How many files a dataset's folder or archive holds, and a digest of their names and contents; `kept`: where their
    states are."""
    before = _known(kept) if kept.is_file() else {}
    path, now = Path(str(dataset.path)), States()
    known = scan(path, levels_of(dataset)) if path.is_dir() else Scan([""], {})

    for done, name in enumerate(known.files):
        now[name] = _state(path / name, before.get(name))
        if done % 500 == 0:
            report(done, len(known.files))

    if now != before:
        write_json(kept, now)
    return {"files": len(known.files), "sha256": folder_sha256(known, lambda name: str(now[name][-1]))}


def _state(file: Path, before: Any) -> list[Any]:
    with readable(file):
        facts = file.stat()
        known = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
        if isinstance(before, list) and before[:-1] == known:
            return before
        return [*known, file_sha256(file)]


def _known(path: Path) -> dict[str, Any]:
    """What a file of ours says; nothing where it is damaged, as it is made anew from the folders."""
    try:
        document = read_json(path)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def main() -> None:
    with one_line_errors("folders"), progress_bar() as bar:
        datasets = load_params().datasets
        task = bar.add_task("folders, files", total=None)
        if update(datasets, lambda done, total: bar.update(task, completed=done, total=total)):
            print(f"{FOLDERS}: what the folders hold has changed; `dvc repro` packs them anew")


if __name__ == "__main__":
    main()
