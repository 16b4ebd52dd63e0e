"""Checks of the project's folder: data, DVC, MLflow's database. `doctor.check` calls them."""

import os
import shutil
import sys
from pathlib import Path

from seal.config import Params
from seal.data.places import MIRROR, Places, locate, source_of
from seal.data.source import Source
from seal.data.sources import SOURCES
from seal.doctor.finding import Finding
from seal.doctor.software import AGAIN
from seal.record import RESULTS
from seal.runs import Runs
from seal.stage_names import asked_stages
from seal.tracking.database import REMEDY, database, database_problem


def check_mirror() -> Finding:
    value = os.environ.get(MIRROR)
    if not value:
        return Finding("data mirror", "ok", f"{MIRROR} is not set", "set it to a folder that holds archives already")
    if not Path(value).is_dir():
        return Finding("data mirror", "fail", f"{MIRROR} is {value}, which is no folder", "correct or unset it")

    held, wanted = [], set[str]()
    for name, source in SOURCES.items():
        files = [*source.archive_names, *source.mirror_names]
        if any((Path(value) / file).is_file() for file in files):
            held.append(name)
        if source.package is None:
            wanted.update(files)

    if held:
        return Finding("data mirror", "ok", f"{value} holds {', '.join(held)}")
    advice = f"expected one of {', '.join(sorted(wanted))}"
    return Finding("data mirror", "warn", f"{value} holds no source's archive", advice)


def check_datasets(params: Params | None) -> Finding:
    if params is None:
        return Finding("datasets", "warn", "unknown without params.yaml")

    places, here, missing = Places.of_environment(), [], []
    for name, dataset in params.datasets.items():
        source = source_of(dataset)
        if locate(source, dataset, places):
            here.append(name)
        else:
            missing.append(f"{name} ({_how_to_get(source)})")

    if not missing:
        return Finding("datasets", "ok", f"here: {', '.join(here)}")

    fact = f"here: {', '.join(here)}; " if here else ""
    fact += f"not yet: {', '.join(missing)}"
    by_hand = any(name.endswith("(by hand)") for name in missing)
    return Finding("datasets", "warn" if by_hand else "ok", fact, "`dvc repro fetch` gets them, or says how to")


def _how_to_get(source: Source) -> str:
    if not source.downloads:
        return "by hand"
    size_mb = sum(archive.bytes or 0 for archive in source.archives) / 1e6  # None: not published
    return f"downloads about {size_mb:.0f} MB"


def check_records(params: Params | None) -> Finding:
    """Of results/ the runs of the parameters, by the check that is made before a run is judged."""
    if params is None:
        return Finding("record", "warn", "unknown without params.yaml")

    runs = Runs.read([RESULTS], asked_stages(params))
    if runs.broken:
        broken = [f"{name} is BROKEN: {reason}" for name, reason in runs.broken.items()]
        return Finding("record", "fail", "; ".join(broken), "it is no evidence until it is restored")
    return Finding("record", "ok", f"{len(runs)} of {len(params.run_names())} runs are here and hold together")


def check_dvc() -> Finding:
    executable = Path(sys.executable).parent / "dvc"
    if not executable.exists() and not shutil.which("dvc"):
        return Finding("DVC", "fail", "no dvc", AGAIN)
    if not Path(".dvc").is_dir():
        return Finding("DVC", "fail", "no .dvc here", "run from the project's root")

    local = Path(".dvc/config.local")
    knows_no_git = local.exists() and "no_scm" in local.read_text(encoding="utf-8")
    if not Path(".git").exists() and not knows_no_git:
        return Finding("DVC", "warn", "there is no Git repository here", "`dvc config --local core.no_scm true`")

    python = shutil.which("python")
    if python is None or Path(python).parent.resolve() != Path(sys.executable).parent.resolve():
        advice = "`make repro` sets the PATH; before a plain `dvc repro`, `. .venv/bin/activate`"
        return Finding("DVC", "warn", f"`python` on the PATH is {python or 'missing'}, not this environment's", advice)
    return Finding("DVC", "ok", str(executable))


def check_mlflow() -> Finding:
    if problem := database_problem(Path.cwd()):
        return Finding("MLflow", "fail", problem, REMEDY)

    path = database(Path.cwd())
    if not path.exists():
        return Finding("MLflow", "ok", f"no {path.name} yet", "`seal ui` writes and shows it")
    return Finding("MLflow", "ok", f"{path.name}, {path.stat().st_size / 1e6:.1f} MB, can be written")
