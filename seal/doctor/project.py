"""Checks of the project's folder: data, DVC, MLflow's database."""

import os
import shutil
import sys
from pathlib import Path

from seal.config import Params
from seal.data.fetch import MIRROR, Places, locate, source_of
from seal.data.sources import SOURCES
from seal.doctor.finding import Finding
from seal.doctor.software import AGAIN
from seal.tracking.database import REMEDY, database, database_problem


def check_mirror() -> Finding:
    value = os.environ.get(MIRROR)
    if not value:
        return Finding("data mirror", "ok", f"{MIRROR} is not set", "set it to a folder that holds archives already")
    if not Path(value).is_dir():
        return Finding("data mirror", "fail", f"{MIRROR} is {value}, which is no folder", "correct or unset it")
    names = {
        name: [*(archive.name for archive in source.archives), *source.mirror_names] for name, source in SOURCES.items()
    }
    held = [name for name, files in names.items() if any((Path(value) / file).is_file() for file in files)]
    if held:
        return Finding("data mirror", "ok", f"{value} holds {', '.join(held)}")
    wanted = sorted({file for name, files in names.items() if SOURCES[name].package is None for file in files})
    return Finding("data mirror", "warn", f"{value} holds no source's archive", f"expected one of {', '.join(wanted)}")


def check_datasets(params: Params | None) -> Finding:
    if params is None:
        return Finding("datasets", "warn", "unknown without params.yaml")
    places, here, missing = Places.of_environment(), [], []
    for name, dataset in params.datasets.items():
        source = source_of(dataset)
        if locate(source, dataset, places):
            here.append(name)
        else:
            size = sum(archive.bytes or 0 for archive in source.archives) / 1e6  # None: not published
            downloads = source.archives and all(archive.url for archive in source.archives)
            missing.append(f"{name} ({f'downloads about {size:.0f} MB' if downloads else 'by hand'})")
    found = "; ".join(f"{word}: {', '.join(names)}" for word, names in (("here", here), ("not yet", missing)) if names)
    advice = "`dvc repro fetch` gets them, or says how to" if missing else ""
    return Finding("datasets", "warn" if any("by hand" in name for name in missing) else "ok", found, advice)


def check_dvc() -> Finding:
    executable = Path(sys.executable).parent / "dvc"
    if not executable.exists() and not shutil.which("dvc"):
        return Finding("DVC", "fail", "no dvc", AGAIN)
    if not Path(".dvc").is_dir():
        return Finding("DVC", "fail", "no .dvc here", "run from the project's root")
    local = Path(".dvc/config.local")
    if not Path(".git").exists() and "no_scm" not in (local.read_text(encoding="utf-8") if local.exists() else ""):
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
