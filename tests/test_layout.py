"""Which module may import which: the arrows of the design, read from the code."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ALL = {"config", "sections", "errors", "rng", "clock", "record"}  # these may be imported by everything
ARROWS = {
    "config": {"errors", "sections", "evaluations"},
    "sections": set(),
    "evaluations": {"sections"},
    "device": set(),
    "errors": set(),
    "rng": set(),
    "clock": {"config"},
    "record": set(),
    "split": set(),
    "reinit": set(),
    "kernels": set(),
    "optim": {"kernels"},
    "models": {"reinit"},
    "methods": {"split"},
    "checkpoint": set(),
    "data": set(),
    "progress": set(),
    "view": set(),
    "tracking": {"view"},
    "aggregate": {"tracking", "view"},
    "statistics": set(),
    "publish": {"checkpoint"},
    "trainer": {"statistics", "optim", "methods", "data", "models", "reinit", "split", "checkpoint"},
    "train": {"publish", "statistics", "trainer", "methods", "data", "checkpoint", "progress", "tracking", "device"},
    "curves": set(),
    "doctor": {"data", "view", "kernels"},
    "costs": {"data"},
    "calibration": {"costs", "data", "device", "models", "trainer"},
    "pipeline": set(),
    "plan": {"calibration", "costs", "pipeline"},
    "study": {"pipeline"},
    "compare": {"study", "view"},
    "cli": {"tracking", "aggregate", "doctor", "curves", "plan", "calibration", "study", "compare"},
    "__init__": {"optim", "split"},
}
EVAL_MAY = ALL | {"evaluations", "models", "checkpoint", "data", "device"}


def imported(path: Path) -> set[str]:
    """The dotted names of seal's and eval's modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if re.match(r"(seal|eval)\.", name)}


def room(path: Path) -> str:
    parts = path.relative_to(ROOT / "seal").with_suffix("").parts
    return parts[0]


@pytest.mark.parametrize("path", sorted((ROOT / "seal").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_seal_imports_along_the_arrows(path: Path) -> None:
    mine = room(path)
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("seal.")} & set(ARROWS)
    basics = (
        set()
        if mine in ("errors", "rng", "record", "sections", "evaluations")
        else ALL - {"clock"}
        if mine in ("config",)
        else ALL
    )
    extra = rooms - ARROWS[mine] - basics - {mine}
    assert not extra, f"{path.name} may not know {extra}"
    if mine != "cli":
        assert not [name for name in imported(path) if name.startswith("eval.")], "only the CLI may import eval"


@pytest.mark.parametrize("path", sorted((ROOT / "eval").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_eval_knows_checkpoints_and_data_not_how_a_network_was_trained(path: Path) -> None:
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("seal.")} & set(ARROWS)
    assert rooms <= EVAL_MAY


def test_kernels_know_tensors_alone() -> None:
    for path in (ROOT / "seal/kernels").glob("*.py"):
        assert {name.split(".")[1] for name in imported(path)} <= {"kernels"}


def test_no_file_is_larger_than_a_megabyte() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        assert not path.exists() or path.stat().st_size <= 2**20, name


@pytest.mark.parametrize(
    "stage", ["transfer", "fewshot", "fewshot_affines", "prediction_depth", "hessian", "claims", "report"]
)
def test_an_evaluation_depends_on_every_module_of_eval_that_it_imports(stage: str) -> None:
    reached, new = set[str](), {f"eval/{stage}.py"}
    while new:
        reached |= new
        names = {name for file in new for name in imported(ROOT / file) if name.startswith("eval.")}
        new = {f"eval/{name.split('.')[1]}.py" for name in names} - reached
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert {dep for dep in stages[stage]["deps"] if re.fullmatch(r"eval/\w+\.py", dep)} == reached


def test_nothing_is_unpickled_or_unpacked() -> None:
    """Weights are safetensors and archives are read in place: a file from elsewhere is never code or a path."""
    unsafe = re.compile(
        r"torch\.load|\bpickle\b(?!\))|allow_pickle=True|joblib|\.extractall|unpack_archive|yaml\.unsafe|torch\.hub"
    )
    for path in [*(ROOT / "seal").rglob("*.py"), *(ROOT / "eval").rglob("*.py")]:
        assert not unsafe.findall(path.read_text(encoding="utf-8")), path
