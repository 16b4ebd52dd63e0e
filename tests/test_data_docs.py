"""docs/own-images.md and docs/researcher.md, run line by line: commands, entries of params.yaml and code."""

import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import yaml
from PIL import Image
from ruamel.yaml import YAML
from torch import Tensor, nn
from typer.testing import CliRunner

from eval.report.document import Section
from eval.report.provenance import provenance
from eval.report.writing import write_sections
from seal import Forgetting
from seal.cli import app
from seal.clock import Course
from seal.config import load_params
from seal.data import fetch, packing
from seal.data.guess import as_yaml, guess
from seal.data.pack import open_pack
from seal.data.sources import SOURCES
from seal.yaml_files import parse_yaml
from tests.documents import blocks, document
from tests.fixtures_data import image_bytes, write_tar, write_zip
from tests.own_images import animals, table, write
from tests.small_project import write_params

ROOT = Path(__file__).parents[1]


def make_layouts() -> None:
    """The folders and archives that the pages name."""
    images = animals(count=12)
    write(Path("photos"), images)
    write(Path("splits"), {f"{'test' if '1' in name else 'train'}/{name}": image for name, image in images.items()})
    write(Path("nested"), {f"x{number % 2}/{name}": image for number, (name, image) in enumerate(images.items())})

    rows = [(name.rpartition("/")[2], name[:3], f"{name[:3]}{number // 2}") for number, name in enumerate(images)]
    write(Path("table"), images | {"truth.csv": table(rows, ("image", "dx", "lesion_id"))})
    hot = [(name, str(int("cat" in name)), str(int("dog" in name)), "test" if "3" in name else "train")
           for name in images]  # fmt: skip
    truth = table(hot, ("image", "MEL", "NV", "part"))
    write_zip(Path("onehot.zip"), {f"all/{name}": content for name, content in {**images, "truth.csv": truth}.items()})

    classes = SOURCES["eurosat"].per_class[""]
    assert isinstance(classes, dict)
    copied = {f"EuroSAT/RGB/{name}/{name}_{number}.png": image_bytes(100 * place + number)
              for place, name in enumerate(classes) for number in range(5)}  # fmt: skip
    write_tar(Path("copied.tar"), copied)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEAL_DATA_MIRROR", raising=False)
    make_layouts()
    return tmp_path


def with_datasets(entries: dict[str, Any]) -> None:
    write_params()
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params["datasets"] |= entries
    Path("params.yaml").write_text(yaml.safe_dump(params))


def run(command: str) -> str:
    """What a line of a page prints; DVC's stages are run as they are, without it."""
    words = shlex.split(command)
    if words[:2] == ["dvc", "repro"]:
        name = words[2].partition("@")[2]
        fetch.main([name])
        packing.main([name])
        return ""
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, result.output
    return result.output


ENTRIES = [yaml.safe_load(block) for block in blocks(document("docs/own-images.md"), "yaml")]


def test_the_entries_of_own_images_are_packed(folder: Path) -> None:
    with_datasets({name: entry for block in ENTRIES for name, entry in block.items()})
    assert len(ENTRIES) == 8
    for (name,) in ENTRIES:
        run(f"dvc repro pack@{name}")
        made = open_pack(f"data/packs/{name}.safetensors")
        assert len(made["train"].files) > len(made["test"].files) > 0, name
    by_default, plain = (open_pack(f"data/packs/{name}.safetensors") for name in ("prepared", "photos"))
    assert by_default.provenance["selection"] == plain.provenance["selection"]


@pytest.mark.parametrize("page", ["own-images", "researcher"])
def test_the_commands_of_a_page(page: str, folder: Path) -> None:
    lines = [line for block in blocks(document(f"docs/{page}.md"), "") for line in block.splitlines()]
    printed = run(lines[0])
    with_datasets(yaml.safe_load(printed.partition("\n")[2])["datasets"])
    shown = [run(line) for line in lines[1:]][-1]
    assert re.search(r"^cat +9 +1 +2$", shown, re.MULTILINE)
    assert "packed at 64 x 64, from files of 8 x 8 (24)" in shown
    assert "colour modes: RGB (24)" in shown
    with Image.open("data/sheets/photos.png") as sheet:
        assert sheet.width > 8 * 64
        assert len(sheet.convert("L").getcolors() or []) > 50


def test_what_the_pages_guess_is_what_they_enter(folder: Path) -> None:
    for block in ENTRIES[:5]:
        ((name, entry),) = block.items()
        guessed = guess(Path(entry["path"])).entry
        assert guessed == entry, name
    copied = guess(Path("copied.tar"))
    assert copied.says.startswith("a copy of EuroSAT, below EuroSAT/RGB: 50 images of 10 classes, of 27000; choose")
    assert yaml.safe_load(as_yaml(Path("copied.tar"), copied.entry))["datasets"]["copied"]["source"] == "eurosat"


def test_the_choices_of_researcher_are_laid_over_mini(folder: Path) -> None:
    """Two arms on the reader's own images, and nothing to download."""
    (choices,) = blocks(document("docs/researcher.md"), "yaml")
    shutil.copytree(ROOT / "params", "params")
    Path("params/photos.yaml").write_text(choices)
    run("seal tier mini --choices photos")

    params = load_params()
    assert yaml.safe_load(choices)["datasets"]["photos"] == guess(Path("photos")).entry
    assert {name.rpartition("-")[0] for name in params.run_names()} == {"normal", "normal_long", "seal"}
    assert {dataset.source for dataset in params.datasets.values()} == {"folder", "digits"}


@pytest.mark.parametrize(
    "folder", ["2024", "no", "null", "True", "1e5", "0o17", "0x1f", "1_000", "y", "2024-05-01", "08", "1:30", "photos"]
)
def test_what_is_printed_is_read_as_names(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos = write(Path(folder), animals())
    printed = as_yaml(photos, guess(photos).entry | {"group": folder})
    name = re.sub("[^a-z0-9]+", "_", folder.lower())
    for read in (parse_yaml, lambda text, *_: YAML(typ="safe").load(text), lambda text, *_: yaml.safe_load(text)):
        values = read(printed, "params.yaml", "")
        assert (values["source"], [*values["datasets"]]) == (name, [name])
        assert (values["datasets"][name]["path"], values["datasets"][name]["group"]) == (folder, folder)


def test_an_image_beside_the_classes_folders_is_guessed_to_be_another_file(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", animals() | {"cover.png": b""})
    guessed = guess(photos)
    assert "label" not in guessed.entry
    assert guessed.says == "a folder a class: 20 images of 2 classes; 1 other files"


@pytest.mark.parametrize(("path", "words"), [("none", "found nothing there"), ("texts", "but no image by its name")])
def test_a_path_without_images_is_one_line(path: str, words: str, folder: Path) -> None:
    write(Path("texts"), {"a/b.txt": b""})
    result = CliRunner().invoke(app, ["data", "--guess", path])
    assert result.exit_code == 1
    assert words in str(result.exception)


def test_the_code_of_researcher(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tests in evaluation mode, and a seed and a schedule reach the method."""
    modes: set[tuple[bool, bool]] = set()
    courses: list[Course] = []
    forward, begin = nn.BatchNorm2d.forward, Forgetting.__init__

    def noted_forward(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
        modes.add((torch.is_grad_enabled(), norm.training))
        return forward(norm, x)

    def noted_begin(forgetting: Forgetting, *arguments: Any, **numbers: Any) -> None:
        begin(forgetting, *arguments, **numbers)
        courses.append(forgetting.course)

    monkeypatch.setattr(nn.BatchNorm2d, "forward", noted_forward)
    monkeypatch.setattr(Forgetting, "__init__", noted_begin)
    with_datasets(ENTRIES[0])
    run("dvc repro pack@photos")
    code = "".join(blocks(document("docs/researcher.md"), "python"))
    for long, short in (("SEEDS = 30, 3, [0, 1, 2, 3, 4]", "SEEDS = 2, 2, [0, 1]"),
                        ("ascent_epochs=8", "ascent_epochs=1")):  # fmt: skip
        assert long in code
        code = code.replace(long, short)
    after: dict[str, Any] = {}
    exec(code, after)
    assert [len(values) for values in after["accuracy"].values()] == [2, 2]
    assert modes == {(True, True), (False, False)}
    assert [course.seed for course in courses] == [0, 1, 0, 1]
    assert all(course.rate_restarts for course in courses)
    assert load_params().datasets["photos"].path == "photos"
    shutil.rmtree("photos")


def test_the_report_links_the_contact_sheet_of_own_images_alone(tmp_path: Path) -> None:
    runs = [
        SimpleNamespace(summary={"data": name, "data_sha256": "0" * 64, "provenance": {"source": source}})
        for name, source in (("photos", "folder"), ("digits", "digits"))
    ]
    section = Section("Images", "images", parts=[provenance(cast("Any", runs))])
    write_sections(tmp_path / "page.html", "Page", [], [section])
    links = re.findall(r'<a href="(\.\.[^"]*)">', (tmp_path / "page.html").read_text(encoding="utf-8"))
    assert links == ["../data/sheets/photos.png"]
