"""A user's folder that changes after the first run is seen: by names, sizes, times and contents, and by DVC."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from seal.data import listing
from seal.data.listing import FOLDERS, main
from seal.record import read_json
from tests.fixtures_data import image_bytes
from tests.small_project import write_params

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / f"images/{name}/{number}.png").write_bytes(image_bytes(number))
    write_params()
    main()
    return tmp_path / "images"


def changed_in_place(folder: Path) -> None:
    """Of the same size, and with its old time of change."""
    path = folder / "cat/0.png"
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "an image more": lambda folder: (folder / "cat/9.png").write_bytes(image_bytes(9)),
    "a class more": lambda folder: shutil.copytree(folder / "cat", folder / "bird"),
    "an image less": lambda folder: (folder / "cat/0.png").unlink(),
    "a class less": lambda folder: shutil.rmtree(folder / "cat"),
    "another name": lambda folder: (folder / "cat/0.png").rename(folder / "cat/7.png"),
    "another class's": lambda folder: (folder / "cat/0.png").rename(folder / "dog/7.png"),
    "swapped": lambda folder: shutil.copy(folder / "cat/0.png", folder / "dog/1.png"),
    "changed in place": changed_in_place,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_changes_is_seen(change: str, folder: Path) -> None:
    before = read_json(FOLDERS)
    CHANGES[change](folder)
    main()
    assert read_json(FOLDERS)["mine"]["sha256"] != before["mine"]["sha256"]


def test_one_that_does_not_change_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = FOLDERS.stat().st_mtime_ns
    monkeypatch.setattr(listing, "file_sha256", None)
    main()
    assert FOLDERS.stat().st_mtime_ns == before


@pytest.mark.parametrize("content", ["", "[]", "{", '{"cat/0.png": 7}'])
def test_states_that_are_damaged_are_made_anew(content: str, folder: Path) -> None:
    before = read_json(FOLDERS)
    Path("data/folders/mine.json").write_text(content)
    main()
    assert read_json(FOLDERS) == before


def test_hidden_files_do_not_count_and_one_that_cannot_be_read_is_a_change(folder: Path) -> None:
    before = read_json(FOLDERS)
    (folder / "cat/._0.png").write_bytes(b"x")
    (folder / ".thumbnails").mkdir()
    main()
    assert read_json(FOLDERS) == before
    (folder / "cat/8.png").symlink_to("nowhere")
    main()
    assert read_json(FOLDERS)["mine"]["sha256"] != before["mine"]["sha256"]
    (folder / "bird").symlink_to("nowhere")
    with pytest.raises(SystemExit, match=r"^folders: images/bird: a link to nothing"):
        main()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("main_arms", "seal"),
        ("main_arms", {"seal": 1}),
        ("seeds", 0),
        ("evaluated_arms", "seal"),
        ("extra_seeds", None),
    ],
)
def test_what_make_begins_with_names_the_key_before_dvc_meets_it(folder: Path, key: str, value: object) -> None:
    """DVC, which takes these for its matrices, would name none."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump(params | {key: value}))
    with pytest.raises(SystemExit, match=rf"^folders: params.yaml: {key}: Input should be a valid list \(found "):
        main()


def test_the_plan_sees_a_folder_that_has_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from seal.cli import app

    asked = []
    monkeypatch.setattr("seal.planning.stages.stages_to_run", lambda: asked.append(read_json(FOLDERS)) or [])
    monkeypatch.setattr("seal.planning.calibration.calibrate", lambda params: None)
    CHANGES["an image more"](folder)
    shown = CliRunner().invoke(app, ["plan"])
    assert (shown.exit_code, asked[0]["mine"]["files"]) == (0, 7)


def test_published_datasets_alone_leave_the_committed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", FOLDERS):
        shutil.copy(ROOT / name, name)
    main()
    assert FOLDERS.read_bytes() == (ROOT / FOLDERS).read_bytes() == b"{}\n"


def test_every_fetch_depends_on_it() -> None:
    fetch = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["fetch"]
    assert FOLDERS.as_posix() in fetch["do"]["deps"]


def test_only_what_has_changed_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main()
    read, digest = [], listing.file_sha256
    monkeypatch.setattr(listing, "file_sha256", lambda path: (read.append(path.name), digest(path))[1])
    main()
    assert read == []

    CHANGES["an image more"](folder)
    main()
    assert read == ["9.png"]


def test_dvc_runs_fetch_again_where_a_folder_has_changed(folder: Path) -> None:
    stage = {"cmd": "echo x >> fetched && cp folders.json out", "deps": [str(FOLDERS)], "outs": ["out"]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"fetch": stage}}))
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")

    def repro() -> int:
        main()
        command = [sys.executable, "-m", "dvc", "repro"]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})
        return len(Path("fetched").read_text().splitlines())

    assert (repro(), repro()) == (1, 1)
    CHANGES["an image more"](folder)
    assert (repro(), repro()) == (2, 2)
