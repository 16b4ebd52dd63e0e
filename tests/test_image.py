"""What can be said of the image without building it, which docker/check does: its start, and what compose publishes."""

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
PAGES = "\n".join(
    page.read_text() for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *DOCKER.glob("*.md"))
)
NO_DRIVER = "note: CUDA 12.8 needs NVIDIA's driver 525 or newer; found none, so that everything runs on the CPU\n"


class Image:
    """docker/entrypoint on an image and a work volume that are folders, each with a space in its name."""

    def __init__(self, folder: Path) -> None:
        self.opt, self.work = folder / "an image", folder / "a volume"
        for name, text in {
            "seal/requirements.lock": "torch==2.10.0\n", "requirements.lock": "torch==2.10.0\n", "source.sha256": "1\n",
            "seal/params.yaml": "tier: smoke\n", "seal/seal/train.py": "", "seal/.dvc/config": "",
            "venv/bin/python": "", "venv/bin/dvc": "", "venv/lib/site.py": "", "venv/pyvenv.cfg": "home = /usr/bin\n",
        }.items():  # fmt: skip
            self.write(self.opt / name, text)
        for path in (self.opt / "seal").rglob("*"):
            path.chmod(0o555)
        self.work.mkdir()
        self.script = folder / "entrypoint"
        self.script.write_text((DOCKER / "entrypoint").read_text().replace("/opt/", '"$OPT"/'))

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    path = "/usr/bin:/bin"

    def start(self) -> "subprocess.CompletedProcess[str]":
        home = self.work.parent / "cache"
        home.mkdir(exist_ok=True)
        environment = {
            "PATH": self.path, "OPT": str(self.opt), "SEAL_WORK": str(self.work),
            "HOME": str(home), "XDG_CACHE_HOME": str(home),
        }  # fmt: skip
        command = ["/bin/sh", self.script, "sh", "-c", 'echo "$PWD $PYTHONPATH $1"', "sh", "two  words"]
        return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path)


def test_what_git_ignores_is_not_copied_into_the_image() -> None:
    left_out = [line.removeprefix("**/") for line in (ROOT / ".dockerignore").read_text().splitlines()]
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    assert [name for name in ignored if not any(fnmatch(name, pattern) for pattern in left_out)] == []


def test_what_pages_have_readers_make_at_the_root_is_ignored() -> None:
    """Else the next image has it, as large as it is."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    written = r"(?: --out| -o|mkdir -p|apptainer build) ([\w.-]+)|torch\.save\(.*, \"([\w.-]+)\"\)"
    made = {"".join(names) for names in re.findall(written, PAGES)}
    assert made >= {"work", "seal.tar", "seal.sif", "acceptance.json", "seal-artifact-VERSION.tar.gz", "vit.pt"}
    assert [name for name in made if not any(fnmatch(name, pattern) for pattern in ignored)] == []


def test_where_pages_run_the_image_on_a_folder_it_is_made_first_and_holds_no_checkout() -> None:
    runs = re.findall(r"(mkdir -p work && )?docker run .*--volume (\S+)", PAGES)
    assert runs == [("mkdir -p work && ", '"$PWD/work:/work"')] * 2


def test_a_folder_that_pages_make_may_be_there_already() -> None:
    assert {*re.findall(r"mkdir (\S+)", PAGES)} == {"-p"}


def test_an_empty_volume_gets_source_and_environment_and_runs_the_command_there(image: Image) -> None:
    done = image.start()
    assert (done.returncode, done.stderr) == (0, NO_DRIVER)
    assert done.stdout == f"{image.work} {image.work} two  words\n"
    (image.work / "params.yaml").write_text("tier: mini\n")  # the image's is read-only, its copy is not
    assert (image.work / ".venv/bin/python").resolve() == image.opt / "venv/bin/python"
    assert (image.work / ".venv/lib/site.py").exists()
    ready = (image.work / ".venv/bin/.ready").stat().st_mtime
    assert ready >= (image.work / "requirements.lock").stat().st_mtime
    assert "no_scm = true" in (image.work / ".dvc/config.local").read_text()

    assert image.start().stderr == NO_DRIVER
    assert (image.work / "params.yaml").read_text() == "tier: mini\n"


def test_what_is_there_already_is_kept(image: Image) -> None:
    mine = {"params.yaml": "tier: mini\n", "dvc.lock": "mine\n", "results/seal-0/summary.json": "{}", ".git/HEAD": "x"}
    for name, text in mine.items():
        image.write(image.work / name, text)
    assert image.start().stderr == NO_DRIVER
    assert {name: (image.work / name).read_text() for name in mine} == mine
    assert (image.work / "seal/train.py").exists()
    assert not (image.work / ".dvc/config.local").exists(), "a checkout has its Git"


def test_an_earlier_source_is_kept_and_said(image: Image) -> None:
    image.start()
    image.write(image.opt / "source.sha256", "2\n")
    done = image.start()
    assert done.returncode == 0
    kept = f"note: {image.work} keeps the source of an earlier image; an empty folder gets this one's\n"
    assert done.stderr == kept + NO_DRIVER


def test_the_start_says_which_driver_is_there(image: Image) -> None:
    smi = image.opt / "venv/bin/nvidia-smi"
    smi.write_text("#!/bin/sh\necho 570.86.15\necho 570.86.15\n")
    smi.chmod(0o755)
    image.path = f"{smi.parent}:/usr/bin:/bin"
    assert image.start().stderr == "note: CUDA 12.8 needs NVIDIA's driver 525 or newer; found 570.86.15\n"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("requirements.lock", "torch==1.0\n", "is not the one of this image"),
        (".venv/pyvenv.cfg", "", "another environm"),
    ],
)
def test_another_environment_is_refused_in_one_line_and_nothing_is_written(
    image: Image, name: str, text: str, words: str
) -> None:
    image.write(image.work / name, text)
    before = sorted(image.work.rglob("*"))
    done = image.start()
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {image.work / Path(name).parts[0]}")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(image.work.rglob("*")) == before


def test_compose_publishes_on_localhost_alone_and_runs_the_commands_of_the_readme() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert {name for name, service in services.items() if "ports" in service} == {"ui"}
    assert all(port.startswith("127.0.0.1:") for port in services["ui"]["ports"])
    assert services["repro"]["command"] == services["repro-gpu"]["command"] == ["make", "repro"]
    assert services["test"]["command"] == ["make", "test"]
    assert "deploy" not in services["repro"], "a reservation does not start without a GPU"
