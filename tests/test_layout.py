"""Which room may know which: the arrows of docs/architecture.md, read from the code's imports."""

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from seal.evaluations import EVALUATIONS

ROOT = Path(__file__).parents[1]

# A room is a package of its own, or a file. Each may import itself, what stands here, and the basics that it is not one
# of. Arrows point one way: a test below looks for circles.
BASICS = (
    "errors", "rng", "record", "timings", "measure", "sections", "evaluations", "config", "clock", "yaml_files",
    "files", "processor",
)  # fmt: skip
ARROWS = {
    "seal": {"seal.forgetting", "seal.interruption", "seal.optim", "seal.split"},
    "seal.__main__": {"seal.cli"},
    "seal.forgetting": {
        "seal.fitting", "seal.optim", "seal.phases", "seal.reinit", "seal.ruled_groups", "seal.rules",
        "seal.steps",
    },
    "seal.fitting": {
        "seal.methods", "seal.options", "seal.reinit", "seal.ruled_groups", "seal.rules", "seal.split", "seal.steps",
    },
    "seal.ruled_groups": {"seal.networks", "seal.optim", "seal.rules", "seal.split"},
    "seal.accept": {
        "eval", "seal.batchnorm", "seal.captured", "seal.checkpoint", "seal.data", "seal.device", "seal.loop",
        "seal.methods", "seal.models", "seal.optim", "seal.options", "seal.precision", "seal.split", "seal.trainer",
    },
    "seal.interruption": set(),
    "seal.errors": set(),
    "seal.rng": set(),
    "seal.processor": set(),
    "seal.record": {"seal.files"},
    "seal.timings": {"seal.processor", "seal.record"},
    "seal.files": set(),
    "seal.blocks": set(),
    "seal.sections": {"seal.blocks"},
    "seal.measure": set(),
    "seal.evaluations": {"seal.measure", "seal.sections"},
    "seal.config": {
        "seal.errors", "seal.record", "seal.sections", "seal.evaluations", "seal.methods", "seal.options",
        "seal.yaml_files",
    },
    "seal.clock": {"seal.sections"},
    "seal.yaml_files": {"seal.errors"},
    "seal.options": set(),
    "seal.rules": {"seal.split"},
    "seal.tiers": set(),
    "seal.stage": set(),
    "seal.evidence": set(),
    "seal.readings": {"seal.evidence"},
    "seal.run_folder": {"seal.evidence", "seal.readings"},
    "seal.soundness": {"seal.evidence", "seal.readings", "seal.run_folder", "seal.stage_names"},
    "seal.runs": {"seal.evidence", "seal.run_folder", "seal.soundness"},
    "seal.stage_names": {"seal.evidence"},
    "seal.device": set(),
    "seal.kernels": set(),
    "seal.precision": set(),
    "seal.split": set(),
    "seal.networks": set(),
    "seal.weights": set(),
    "seal.own_records": {"seal.evidence", "seal.readings", "seal.run_folder"},
    "seal.evaluate_command": {"eval", "seal.own_records", "seal.run_folder", "seal.split_shown", "seal.tracking"},
    "seal.split_shown": {"seal.networks", "seal.split"},
    "seal.reinit": set(),
    "seal.batchnorm": set(),
    "seal.optim": {"seal.kernels"},
    "seal.models": {"seal.batchnorm", "seal.blocks", "seal.networks", "seal.reinit"},
    "seal.methods": {"seal.masks", "seal.options", "seal.rules"},
    "seal.masks": set(),
    "seal.steps": {"seal.reinit", "seal.rules"},
    "seal.data": {"seal.stage"},
    "seal.checkpoint": set(),
    "seal.progress": set(),
    "seal.publish": {"seal.checkpoint"},
    "seal.objective": {"seal.data", "seal.precision", "seal.steps"},
    "seal.phases": {"seal.methods", "seal.rules"},
    "seal.trainer": {
        "seal.batchnorm", "seal.checkpoint", "seal.data", "seal.methods", "seal.models", "seal.networks",
        "seal.objective", "seal.optim", "seal.phases", "seal.precision", "seal.reinit", "seal.rules", "seal.split",
        "seal.steps",
    },
    "seal.captured": {
        "seal.checkpoint", "seal.data", "seal.precision", "seal.rules", "seal.steps", "seal.trainer",
    },
    "seal.resume_file": {"seal.checkpoint"},
    "seal.rows": {"seal.batchnorm", "seal.checkpoint", "seal.phases", "seal.rules", "seal.steps", "seal.trainer"},
    "seal.loop": {"seal.checkpoint", "seal.resume_file", "seal.rows", "seal.trainer"},
    "seal.resume": {"seal.checkpoint", "seal.device", "seal.evidence", "seal.phases", "seal.trainer"},
    "seal.scratch": {"seal.checkpoint"},
    "seal.training_data": {"seal.data", "seal.trainer"},
    "seal.tracking": {
        "seal.evidence", "seal.own_records", "seal.run_folder", "seal.runs", "seal.soundness", "seal.stage_names",
        "seal.study",
    },
    "seal.train": {
        "seal.captured", "seal.data", "seal.device", "seal.loop", "seal.models", "seal.progress", "seal.publish",
        "seal.resume", "seal.scratch", "seal.stage", "seal.tracking", "seal.trainer", "seal.training_data",
    },
    "seal.curves": {"seal.evidence", "seal.stage"},
    "seal.study": {"seal.data", "seal.evidence", "seal.readings", "seal.runs", "seal.stage_names"},
    "seal.planning": {
        "seal.blocks", "seal.checkpoint", "seal.data", "seal.device", "seal.evidence", "seal.methods", "seal.models",
        "seal.phases", "seal.runs", "seal.stage_names", "seal.study", "seal.tiers", "seal.trainer", "eval",
    },
    "seal.release": {
        "seal.checkpoint", "seal.data", "seal.evidence", "seal.runs", "seal.stage_names", "seal.study", "seal.tiers",
    },
    "seal.cluster": {
        "seal.data", "seal.interruption", "seal.planning", "seal.stage_names", "seal.study", "seal.tracking",
    },
    "seal.doctor": {"seal.cluster", "seal.data", "seal.planning", "seal.runs", "seal.stage_names", "seal.tracking"},
    "seal.cli": {
        "seal.accept", "seal.cluster", "seal.data", "seal.doctor", "seal.evaluate_command", "seal.planning",
        "seal.record_commands", "seal.split_shown", "seal.study", "seal.tiers", "seal.tracking",
    },
    "seal.record_commands": {"seal.release", "seal.study", "eval.claims", "eval.report"},
    "eval": {
        "seal.checkpoint", "seal.data", "seal.device", "seal.evidence", "seal.models", "seal.networks",
        "seal.precision", "seal.split", "seal.stage", "seal.weights",
    },
    "eval.claims": {"seal.evidence", "seal.readings", "seal.runs", "seal.stage", "seal.stage_names"},
    "eval.report": {
        "seal.own_records", "seal.planning", "seal.readings", "seal.runs", "seal.stage", "seal.stage_names",
        "seal.tiers", "eval.claims",
    },
}  # fmt: skip
# What `pip install` without extras gives: these, and all that they import as they are imported, know no other package.
CORE = (
    "seal", "seal.forgetting", "seal.optim", "seal.methods", "seal.loop", "seal.training_data", "seal.accept", "eval",
)  # fmt: skip
CORE_PACKAGES = {"numpy", "safetensors", "torch"}
TENSORS_ALONE = ("seal.kernels", "seal.masks", "seal.split", "seal.reinit")
WITHOUT_TORCH = (
    "seal.stage",
    "seal.runs",
    "seal.evaluations",
    "seal.record",
    "seal.config",
    "seal.tiers",
    "seal.phases",
    "eval.claims",
    "eval.report",
    "seal.planning.costs",
)


def modules() -> dict[str, Path]:
    """Every module of seal and eval by its dotted name; a package by its own."""
    named = {}
    for path in sorted([*(ROOT / "seal").rglob("*.py"), *(ROOT / "eval").rglob("*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


MODULES = modules()


def imported(path: Path, run_at_import: bool = False) -> set[str]:
    """The modules of seal and eval that a file imports; `run_at_import` leaves out what stands inside functions and
    under TYPE_CHECKING."""
    names: set[str] = set()
    for node in _statements(ast.parse(path.read_text(encoding="utf-8")), run_at_import):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & MODULES.keys()


def _statements(tree: ast.AST, run_at_import: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        deferred |= isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (run_at_import and deferred):
            yield node
            yield from _statements(node, run_at_import)


def room(module: str) -> str:
    """The longest name of ARROWS that the module is, or is in; eval's own files are one room."""
    return max((name for name in ARROWS if f"{module}.".startswith(f"{name}.")), key=len)


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_arrows(module: str) -> None:
    mine = room(module)
    basics = {f"seal.{name}" for name in BASICS}
    allowed = ARROWS[mine] | {mine} | (set() if mine in basics else basics) | {"seal.errors"}
    rooms = {room(name) for name in imported(MODULES[module])} - {"seal", "eval"} | {
        "eval" for name in imported(MODULES[module]) if room(name) == "eval" and name != "eval"
    }
    assert rooms <= allowed, f"{module} may not know {sorted(rooms - allowed)}"


def test_architecture_names_every_module_of_seal() -> None:
    """Each file of seal/ and seal/data/; of another package its name alone."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").partition("\n## To add something\n")[0]
    named = {*re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", text)))}
    expected = {path.stem for folder in ("seal", "seal/data") for path in (ROOT / folder).glob("*.py")}
    expected |= {path.parent.name for path in (ROOT / "seal").glob("*/__init__.py")}
    assert expected - named == {"__init__", "__main__"}


def test_architecture_lists_the_basics() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"They point one way\. ([^.]*) may be known to all", text)
    assert {*re.findall(r"`(\w+)`", listed)} == {*BASICS}


def test_no_file_of_tests_takes_anything_from_another_ones_tests() -> None:
    """What several need is in a module without tests."""
    sources = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "tests/additions").glob("*.patch")]
    of_tests = re.compile(r"^\W*(from|import) tests\.test_", re.MULTILINE)
    assert not [path.name for path in sources if of_tests.search(path.read_text(encoding="utf-8"))]


def test_every_arrow_is_used() -> None:
    used: dict[str, set[str]] = {name: set() for name in ARROWS}
    for module, path in MODULES.items():
        used[room(module)] |= {room(name) for name in imported(path)}
    unused = {name: sorted(arrows - used[name]) for name, arrows in ARROWS.items() if arrows - used[name]}
    assert not unused


def test_no_module_imports_itself_round_a_circle() -> None:
    """Imports inside functions and for types count too: a circle that they hide is one all the same."""
    known = {module: imported(path) - {module, "seal", "eval"} for module, path in MODULES.items()}
    while known:
        leaves = {module for module, names in known.items() if not names & known.keys()}
        assert leaves, f"a circle among {sorted(known)}"
        known = {module: names for module, names in known.items() if module not in leaves}


def test_only_tensors_in_the_rooms_of_tensors() -> None:
    for module in MODULES:
        if room(module) in TENSORS_ALONE:
            assert {room(name) for name in imported(MODULES[module])} <= {room(module)}, module


def imported_with(modules: set[str]) -> set[str]:
    """These modules, and those of seal and eval that are imported as they are."""
    reached, new = set[str](), modules
    while new:
        reached |= new
        new = {name for module in new for name in imported(MODULES[module], run_at_import=True)} - reached
    return reached


def packages_of(module: str) -> set[str]:
    """The packages, Python's own and ours left out, that a module imports as it is imported."""
    names = set()
    for node in _statements(ast.parse(MODULES[module].read_text(encoding="utf-8")), run_at_import=True):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"seal", "eval"}


@pytest.mark.parametrize("start", WITHOUT_TORCH)
def test_what_reads_the_record_imports_no_torch(start: str) -> None:
    for module in sorted(imported_with({name for name in MODULES if f"{name}.".startswith(f"{start}.")})):
        heavy = packages_of(module) & {"torch", "mlflow", "faiss"}
        assert not heavy, f"{module} imports {heavy} as {start} is imported; expected within a function"


@pytest.mark.parametrize("start", CORE)
def test_the_core_knows_three_packages(start: str) -> None:
    for module in sorted(imported_with({name for name in MODULES if room(name) == start})):
        others = packages_of(module) - CORE_PACKAGES
        assert not others, f"{module} imports {others} as {start} is imported; expected in a function or for types"


def test_no_file_is_larger_than_a_megabyte() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        assert not path.exists() or path.stat().st_size <= 2**20, name


@pytest.mark.parametrize("stage", EVALUATIONS)
def test_an_evaluation_depends_on_every_module_of_eval_that_it_imports(stage: str) -> None:
    reached, new = set[str](), {f"eval.{stage}"}
    while new:
        reached |= new
        new = (
            {name for module in new for name in imported(MODULES[module]) if room(name) == "eval"} - reached - {"eval"}
        )
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    deps = {dep for dep in stages[stage]["deps"] if re.fullmatch(r"eval/\w+\.py", dep)}
    assert deps == {f"{name.replace('.', '/')}.py" for name in reached}


def test_nothing_is_unpickled_or_unpacked() -> None:
    """Weights are safetensors and archives are read in place: a file from elsewhere is never code or a path."""
    unsafe = re.compile(
        r"(?<!safetensors\.)torch\.load(?!\([^\n]*weights_only=True\))|\bpickle\b(?!\))|allow_pickle=True|joblib|\.extractall"
        r"|unpack_archive|yaml\.unsafe|torch\.hub"
    )
    for path in MODULES.values():
        assert not unsafe.findall(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("benchmark", sorted(path.stem for path in Path("benchmarks").glob("*.py")))
def test_a_benchmark_finds_the_names_it_imports(benchmark: str) -> None:
    importlib.import_module(f"benchmarks.{benchmark}")


@pytest.mark.xdist_group("a group")
def test_groups_of_tests_are_known(request: pytest.FixtureRequest) -> None:
    """A version of pytest that pytest-xdist does not know groups none, says nothing, and makes each fixture twice."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@a group")
