"""The core where nothing else can be imported: every method's training and every evaluation, on tensors.

tests/test_core.py runs it in a process of its own, which begins without site-packages, in a project's folder. What
params.yaml holds comes as JSON, since YAML and pydantic are not the core's. Run, parameters and sections are plain
values here, as they may be in anyone's own code.
"""

import importlib
import json
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


class NothingElse(MetaPathFinder):
    """In place of what finds modules on sys.path: finds Python's own, those that are named, and ours."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = {*sys.stdlib_module_names, *names, "seal", "eval"}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, path, target) if name.partition(".")[0] in self.names else None


class Values(SimpleNamespace):
    """A section of params.yaml as plain values."""

    def model_dump(self, mode: str = "python") -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if (key, value) != ("precision", "float32")}


class NoBar:
    """In place of rich's progress bar."""

    def __init__(self) -> None:
        self.console = SimpleNamespace(print=lambda *words, **how: None)

    def add_task(self, description: str, total: int) -> int:
        return 0

    def advance(self, task: int, steps: int = 1) -> None:
        pass

    def track(self, batches: Iterable[Any], **words: Any) -> Iterable[Any]:
        return batches


def with_options(run: Values) -> Values:
    """The run, its method's numbers in the dataclass that the method has for them."""
    from seal.methods import options_of
    from seal.options import options_from

    run.name = f"{run.arm}-{run.seed}"
    run.options = options_from(options_of(run.method), vars(run.options), vars(run.training))
    return run


def train_run(run: Values, folder: Path) -> None:
    """From the pack to weights and predictions in `folder`."""
    import torch

    from seal.checkpoint import State
    from seal.data.pack import PACKS, open_pack
    from seal.loop import train
    from seal.trainer import Trainer
    from seal.training_data import make_data

    device = torch.device("cpu")
    trainer = Trainer(run, make_data(run, open_pack(PACKS / "mine.safetensors"), device), device)
    train(trainer, State(), folder, 1, lambda *batch: None, lambda row: None)


def stage_of(run: Values, params: Values) -> Callable[..., Any]:
    """In place of `evaluation_stage`: the same stage, of a run, parameters and pack at hand."""
    import torch

    from eval.evaluation import EvaluationStage
    from seal.data.pack import PACKS, open_pack
    from seal.stage import Timing

    @contextmanager
    def stage(name: str, arguments: Sequence[str]) -> Iterator[EvaluationStage]:
        target = arguments[0] if arguments else None
        evaluation = EvaluationStage(name, target, params, run, torch.device("cpu"), NoBar(), Timing())  # type: ignore[arg-type]
        vars(evaluation)["pack"] = open_pack(PACKS / f"{target or params.source}.safetensors")
        yield evaluation

    return stage


def solve_by_lanczos() -> None:
    """The Hessian's stage is asked for power iteration alone: beside Lanczos it needs the mean operator's package."""
    import torch

    from eval.lanczos import lanczos

    values = torch.linspace(-1.0, 4.0, 12)
    rotation = torch.linalg.qr(torch.rand(12, 12, generator=torch.Generator().manual_seed(0))).Q
    matrix = rotation * values @ rotation.T
    solution = lanczos(
        lambda vector: matrix @ vector, torch.ones(12), 3, "magnitude", tolerance=1e-4, first_steps=6, max_steps=12
    )
    torch.testing.assert_close(solution.values.float().sort().values, values[-3:], rtol=1e-4, atol=1e-4)


def accept_a_cpu() -> None:
    """Some sections of the acceptance, which leaves out FAISS where it is not there, and says so."""
    import torch

    from seal.accept.__main__ import accept
    from seal.accept.bench import Bench

    bench = Bench(torch.device("cpu"), tiny=True)
    found = accept(Path("core/acceptance.json"), bench, ["environment", "batches", "resume", "knn", "fewshot"])
    assert found["passed"], found
    assert "FAISS does not load" in found["sections"]["knn"]["faiss"]["left_out"], found


def main(asked: Values) -> None:
    for run in asked.runs:
        train_run(with_options(run), Path("core") / run.method)

    for evaluation in asked.evaluations:
        module: Any = importlib.import_module(f"eval.{evaluation.name}")
        module.evaluation_stage = stage_of(with_options(evaluation.run), evaluation.params)
        module.main(evaluation.targets)
    solve_by_lanczos()
    accept_a_cpu()


if __name__ == "__main__":
    wanted = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"), object_hook=lambda pairs: Values(**pairs))
    sysconfig.get_config_vars()  # Python's own, but by a module that is named after the platform
    sys.meta_path[sys.meta_path.index(PathFinder)] = NothingElse(wanted.modules)
    sys.path += wanted.paths
    main(wanted)
