"""The stages and commands that the kill campaign meets, and the project in which each of them has ended well once."""

import hashlib
import shutil
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from seal.evaluations import EVALUATIONS
from tests.campaign.processes import ROOT, begin, module_of

LONGEST = 120.0  # s, of a command here
# Imported where it is needed, for seconds each.
LATER = ("seal.tracking.mlflow_view", "mlflow", "scipy.stats", "torch._dynamo", "hessian_eigenthings")
# What depends on the machine or is made anew at will: no record. A view, which is compared by what it is made of.
NOT_COMPARED = ("timings", "scratch", "data/folders", "mlflow.db", "mlartifacts")


@dataclass(frozen=True)
class Command:
    words: tuple[str, ...]  # of `python -m`
    outs: tuple[str, ...] = ()  # what DVC deletes before it


@dataclass(frozen=True)
class Good:
    """How a command ends that nothing meets."""

    files: dict[str, str]  # the project's, with their digests
    seconds: float


def evaluation(name: str) -> Command:
    target = ("--target", "mine") if EVALUATIONS[name].targeted else ()
    folder = f"{name}-mine" if target else name
    return Command((f"eval.{name}", "--run", "normal-0", *target), (f"results/normal-0/eval/{folder}",))


def training(run: str) -> Command:
    names = ("history.csv", "summary.json", "metrics.json", "weights", "predictions")
    return Command(("seal.train", "--run", run), tuple(f"results/{run}/{name}" for name in names))


COMMANDS = {
    "listing": Command(("seal.data.listing",)),
    "fetch": Command(("seal.data.fetch", "mine"), ("data/sources/mine.json",)),
    "pack": Command(("seal.data.packing", "mine"), ("data/packs/mine.safetensors",)),
    "base": training("normal-0"),
    "train": training("seal-0"),
    **{name: evaluation(name) for name in EVALUATIONS},
    "curves": Command(("seal.curves",), ("curves",)),
    "claims": Command(("eval.claims", "--out", "claims/claims.json"), ("claims/claims.json",)),
    "report": Command(("eval.report",), ("report",)),
    "ending": Command(("eval.report.ending",)),
    "seal tier": Command(("seal.cli", "tier", "mini")),
    "seal compare": Command(("seal.cli", "compare", "kept", "results")),
    "seal bundle": Command(("seal.cli", "bundle", "--out", "bundle.zip"), ("bundle.zip",)),
    "seal check": Command(("seal.cli", "check", "bundle.zip")),
    "seal sync": Command(("seal.cli", "sync")),
}


def import_all() -> None:
    """What the commands import, and what they import where it is needed, without doing anything of it."""
    for command in COMMANDS.values():
        module_of(command.words[0])
    for name in LATER:
        import_module(name)
    import torch

    torch.set_num_threads(1)


def make_whole_project(root: Path) -> Path:
    """A project of 32 images in which every command has ended well. Only forks of this process are at work in it."""
    import_all()
    errors = root.with_name(f"{root.name}-errors")
    ended = begin(("tests.campaign.commands",), root, errors).end(LONGEST)
    errors.unlink()
    assert ended.status == 0, ended.words
    for name, command in COMMANDS.items():
        if name == "seal compare":
            shutil.copytree(root / "results", root / "kept")
        if name != "seal tier":
            _ended_well(name, command, root)
    return root


def _ended_well(name: str, command: Command, folder: Path) -> None:
    errors = folder.with_name(f"{folder.name}-errors")
    ended = begin(command.words, folder, errors).end(LONGEST)
    errors.unlink()
    if ended.status:
        raise SystemExit(f"{name} ended with {ended.status} where nothing had met it: {ended.words}")


def good_end(name: str, project: Path, place: Path) -> Good:
    """What a copy of the project holds once the command has run in it, and how long that takes."""
    copy = copied(project, place, name, without_outs=True)
    began = time.monotonic()
    _ended_well(name, COMMANDS[name], copy)
    return Good(files(copy), time.monotonic() - began)


def copied(project: Path, place: Path, name: str, *, without_outs: bool) -> Path:
    """A copy of the project in `place`, without what the command is to make; a training's resume state goes with it."""
    copy = place / "project"
    shutil.copytree(project, copy)
    if without_outs:
        for out in COMMANDS[name].outs:
            shutil.rmtree(copy / out) if (copy / out).is_dir() else (copy / out).unlink()
        if name in ("base", "train"):
            shutil.rmtree(copy / "scratch")
    return copy


def files(project: Path) -> dict[str, str]:
    """Digests of all that is compared, by name."""
    digests = {}
    for path in sorted(project.rglob("*")):
        name = path.relative_to(project).as_posix()
        if path.is_file() and not name.startswith(NOT_COMPARED):
            digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def main() -> None:
    """Images and parameters, in the folder in which this process is."""
    from tests.small_evaluations import SMALL
    from tests.small_project import make_images, write_params

    make_images(Path())
    sections = {}
    for name, described in EVALUATIONS.items():
        sections[name] = SMALL.get(name, {}) | ({"targets": ["mine"]} if described.targeted else {})
    write_params(main_arms=["seal"], seeds=[0], **sections)
    shutil.copytree(ROOT / "params", "params")
    for name in ("LICENSE", "CITATION.cff"):
        shutil.copyfile(ROOT / name, name)
