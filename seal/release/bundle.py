"""Writes a bundle: a record, the last weights of its primary arms, and all that a check of them needs.

`seal bundle` and `make bundle` call it. Equal records give equal bytes: members stand in order, stored as they are, all
with one date.
"""

import zipfile
from importlib.metadata import version
from pathlib import Path

from seal.checkpoint import HANDOVER
from seal.config import BASE_ARM, Params, load_params
from seal.errors import UserError
from seal.record import RESULTS, atomic, file_sha256
from seal.release.archive import CHECKSUMS, FACTS, FORMAT, RECORD, SUFFIXES, Facts, checksum_lines
from seal.runs import RunFolder, Runs, are_folders
from seal.tiers import tier_params, tier_text

BESIDE = ("LICENSE", "CITATION.cff")
LEFT_OUT = ("report", "timings", "weights")  # of a record's folder; of weights the last ones are taken
PARAMS, SUMMARY = Path("params.yaml"), "summary.json"
DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can say

README = """# SEAL, reproduced: the record of the tier {tier}

Written by version {version} of the artifact: {count} runs, each in `results/ARM-SEED/`. `history.csv` has epochs,
`summary.json` parameters, data and the ends of generations, `eval/` every evaluation, `predictions/` each test image.
`weights/` of the primary arms are those that the last generation left.

**To check it**, with the artifact installed (`pip install '.[artifact]'` in its folder), in any folder:

    seal check BUNDLE.zip
    seal check BUNDLE.zip --run RUN --evaluation EVALUATION

The first holds every file against `checksums.txt`, as `sha256sum -c checksums.txt` does once it is unpacked. The second
also runs that evaluation again from the run's weights, in minutes, and says whether its values are the same. Images are
not in here: `params.yaml` says which they are, and the check fetches and packs them as the artifact does, and holds
them against the record's checksum. Nothing in the bundle is run.

Weights at hand: {weights}.
{gone}
Licence: `LICENSE`. To cite: `CITATION.cff`.
"""


def write_bundle(record: Path = RESULTS, out: Path | None = None) -> Path:
    """Write the bundle of a record's folder, by default of results/ as params.yaml names its runs. Gives its path.

    Raises UserError where a run of it is not recorded, or a file beside it is missing.
    """
    are_folders([record])
    text, params = _params_of(record)
    runs = _runs_of(record, params)
    weights, gone = _weights_of(runs, params)
    number = version("seal-artifact")
    facts = Facts(format=FORMAT, tier=params.tier, version=number, weights=[*weights], gone=gone)
    path = out or Path(f"bundle/seal-{params.tier}-{number}.zip")

    lists = {str(dataset.split) for dataset in params.datasets.values() if isinstance(dataset.split, str)}
    contents = _record_files(record, runs)
    for name in (*BESIDE, *sorted(lists - {"official"})):
        contents[name] = _beside(name)
    for name, weights_path in weights.items():
        contents[f"{RECORD}/{name}/weights/{weights_path.name}"] = weights_path

    contents["params.yaml"] = text.encode()
    contents["README.md"] = _readme(facts, len(runs)).encode()
    contents[FACTS] = facts.model_dump_json(indent=1).encode()
    contents[CHECKSUMS] = checksum_lines(contents).encode()
    with atomic(path) as temporary:
        _write_zip(temporary, contents)
    return path


def _params_of(record: Path) -> tuple[str, Params]:
    """The parameters by which a record was made, as text too: the active ones, or for a kept study its tier's."""
    if record == RESULTS:
        return PARAMS.read_text(encoding="utf-8"), load_params(PARAMS)

    tier = Runs.read([record]).the_same("tier")
    if tier is None:
        raise UserError(f"{record}: found no run, expected a folder of runs, as expected/mini")
    return tier_text(tier), tier_params(tier)


def _runs_of(record: Path, params: Params) -> list[RunFolder]:
    """Every run of results/ that params.yaml names, or all that a kept study has."""
    names = params.run_names() if record == RESULTS else None
    runs = list(Runs.read([record], names))
    missing = sorted(set(names or ()) - {run.name for run in runs})
    if missing:
        raise UserError(f"{record}: found no record of {', '.join(missing)}; `make repro` makes what is missing")
    return runs


def _weights_of(runs: list[RunFolder], params: Params) -> tuple[dict[str, Path], dict[str, str]]:
    """Run -> its last weights, of the primary arms; and of those whose weights are gone, how to make them.

    A kept study has none of its own: those in results/ are taken where the record beside them is the same.
    """
    weights, gone = {}, {}
    for run in runs:
        if run.arm not in (BASE_ARM, *params.main_arms) or run.diverged_in is not None:
            continue

        here = RESULTS / run.name
        trained_here = (here / SUMMARY).is_file() and file_sha256(here / SUMMARY) == file_sha256(run.summary_path)
        folder = here if trained_here else run.folder
        path = folder / f"weights/gen-{run.last:02d}.safetensors"
        if path.is_file():
            weights[run.name] = path
            continue

        stage = f"base@{run.seed}" if run.arm == BASE_ARM else f"train@{run.name}"
        seeds = "" if run.name in params.run_names() else f" with {run.seed} among the seeds of params.yaml"
        gone[run.name] = f"`seal tier {params.tier}`, then `dvc repro {stage}`{seeds}"
    return weights, gone


def _record_files(record: Path, runs: list[RunFolder]) -> dict[str, bytes | Path]:
    """Member -> file: all data of the runs' folders but weights, and what a kept study has beside them."""
    others = {path.parent.name for path in record.glob(f"*/{SUMMARY}")} - {run.name for run in runs}

    files: dict[str, bytes | Path] = {}
    for path in sorted(record.rglob("*")):
        inside = path.relative_to(record)
        if path.suffix not in SUFFIXES or path.name == HANDOVER or inside.parts[0] in others:
            continue
        if not set(inside.parts) & set(LEFT_OUT):
            files[f"{RECORD}/{inside.as_posix()}"] = path
    return files


def _beside(name: str) -> Path:
    if not Path(name).is_file():
        raise UserError(f"{name}: not found; run from the project's root")
    return Path(name)


def _readme(facts: Facts, count: int) -> str:
    lines = [f"- `{run}`: {command} makes them." for run, command in facts.gone.items()]
    gone = "\n".join(["", "Weights that are gone:", "", *lines, ""]) if lines else ""
    weights = ", ".join(facts.weights) or "none"
    return README.format(tier=facts.tier, version=facts.version, count=count, weights=weights, gone=gone)


def _write_zip(path: Path, contents: dict[str, bytes | Path]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(contents):
            member = zipfile.ZipInfo(name, DATE)
            member.external_attr = 0o644 << 16
            content = contents[name]
            if isinstance(content, bytes):
                archive.writestr(member, content)
                continue

            member.file_size = content.stat().st_size
            with content.open("rb") as source, archive.open(member, "w") as target:
                while block := source.read(2**20):
                    target.write(block)
