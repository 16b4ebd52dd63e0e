"""Writes a bundle: a record, the last weights of its primary arms, and all that a check of them needs.

`seal bundle` and `make bundle` call it. Equal records give equal bytes: members stand in order, stored as they are, all
with one date.
"""

import zipfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from seal.checkpoint import HANDOVER
from seal.config import Params, load_params
from seal.errors import UserError
from seal.files import atomic
from seal.record import RESULTS, file_sha256
from seal.release.archive import CHECKSUMS, FACTS, FORMAT, LISTS, RECORD, SUFFIXES, Facts, checksum_lines, is_recorded
from seal.runs import RunFolder, Runs, are_folders
from seal.sections import BASE_ARM
from seal.stage_names import asked_stages, stage_of
from seal.study.numbers import difference, facts_of
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

    Raises UserError where a run of it is not recorded, is BROKEN or was trained by other parameters, or a file beside
    it is missing.
    """
    are_folders([record])
    record = RESULTS if record.resolve() == RESULTS.resolve() else record
    runs, params, text = _study_of(record)
    weights, gone = _weights_of(runs, params)
    number = version("seal-artifact")
    facts = Facts(format=FORMAT, tier=params.tier, version=number, weights=[*weights], gone=gone)
    study = params.tier if record == RESULTS else f"{record.resolve().name}-kept"
    path = out or Path(f"bundle/seal-{study}-{number}.zip")

    contents = _record_files(record, runs)
    for name in (*BESIDE, *_lists_of(params)):
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


def _study_of(record: Path) -> tuple[list[RunFolder], Params, str]:
    """A record's runs, and the parameters by which they were trained, as text too: the active ones, or a kept study's
    tier's where they are those."""
    if record == RESULTS:
        params = load_params(PARAMS)
        runs = _recorded(params)
    else:
        runs = _sound(Runs.read([record]))
        tier = runs.the_same("tier")
        if tier is None:
            raise UserError(f"{record}: found no run, expected a folder of runs, as expected/mini")

        params = tier_params(tier)
        if _difference(runs, params) is None:
            return [*runs], params, tier_text(tier)
        params = load_params(PARAMS)

    if difference := _difference(runs, params):
        how = "`make repro` trains it by these" if record == RESULTS else "`seal tier` with its --choices writes them"
        raise UserError(f"{difference} in {PARAMS}; {how}")
    return [*runs], params, PARAMS.read_text(encoding="utf-8")


def _recorded(params: Params) -> Runs:
    """The runs of results/ that the parameters ask for. Raises UserError where one is not recorded."""
    runs = _sound(Runs.read([RESULTS], asked_stages(params)))
    missing = sorted({*params.run_names()} - {run.name for run in runs})
    if missing:
        raise UserError(f"{RESULTS}: found no record of {', '.join(missing)}; `make repro` makes what is missing")
    return runs


def _sound(runs: Runs) -> Runs:
    """The same runs. Raises UserError where others beside them do not hold together."""
    if runs.broken:
        raise UserError(f"found BROKEN runs, expected a record that is whole: {'; '.join(runs.broken.values())}")
    return runs


def _difference(runs: Iterable[RunFolder], params: Params) -> str | None:
    """In which number the parameters are not those by which one of the runs was trained, its seed aside."""
    for run in runs:
        if run.arm not in (BASE_ARM, *params.arms):
            return f"{run.summary_path}: found arm {run.arm}, expected one of those"

        if other := difference(run.summary, facts_of(params, run.arm, run.seed)):
            return f"{run.summary_path}: found {other.key} {other.recorded}, expected {other.wanted} as it stands"
    return None


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

        seeds = "" if run.name in params.run_names() else f" and {run.seed} among its seeds"
        gone[run.name] = f"`dvc repro {stage_of(run.name)}` with the bundle's params.yaml{seeds}"
    return weights, gone


def _record_files(record: Path, runs: list[RunFolder]) -> dict[str, bytes | Path]:
    """Member -> file: all data of the runs' folders but weights, and what a kept study has beside them."""
    others = {path.parent for path in record.glob(f"*/{SUMMARY}")} - {run.folder for run in runs}
    for run in runs:  # evaluations of an earlier tier
        others |= {*(run.folder / "eval").glob("*")} - {*run.evaluation_folders()}

    files: dict[str, bytes | Path] = {}
    for path in sorted(record.rglob("*")):
        inside = path.relative_to(record)
        if path.suffix not in SUFFIXES or path.name == HANDOVER or not others.isdisjoint(path.parents):
            continue
        if not set(inside.parts) & set(LEFT_OUT):
            files[f"{RECORD}/{inside.as_posix()}"] = path
    return files


def _lists_of(params: Params) -> list[str]:
    """The lists of images that the parameters name. Raises UserError for one that a reader of bundles would refuse."""
    splits = {str(dataset.split) for dataset in params.datasets.values() if isinstance(dataset.split, str)}
    lists = sorted(splits - {"official"})
    for name in lists:
        if not is_recorded(name):
            remedy = "move it there, and name it so in datasets"
            raise UserError(f"found split {name}, expected a csv below {LISTS}/; {remedy}")
    return lists


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
