"""What waited for the first GPU: each fault by a count of calls, copies or launches, or by a stand-in of the card."""

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import eval.fewshot_affines as affines
from eval.fewshot_affines import HeadsAndAffines
from eval.knn import FeaturesChanged, exact_knn
from eval.knn_backends import _gpu_resources, faiss_candidates
from seal.accept import __main__ as acceptance
from seal.accept.bench import Bench
from seal.accept.evaluating import knn
from seal.batchnorm import batch_counters
from seal.checkpoint import CheckpointError, State, save_tensors
from seal.clock import Clock
from seal.config import load_params
from seal.data.batches import Batches
from seal.device import device_named, require_memory, set_deterministic, torch_device
from seal.errors import UserError
from seal.kernels import backends
from seal.models import build
from seal.optim import SignedSGD
from seal.precision import arithmetic
from seal.progress import TrainingProgress
from seal.resume import making, require_same_making
from seal.resume_file import ResumeFile
from seal.rng import stream
from seal.stage import stage
from seal.timings import TIMING_COLUMNS, append_timing
from seal.trainer import Trainer
from tests.small import CPU, small_data, small_run
from tests.small_project import write_params
from tests.strategies import params_with

CARD = "NVIDIA H100 80GB HBM3"


class Counted(TorchDispatchMode):
    """Counts the operations of a block by name, copies between devices as `copies`."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func._schema.name] += 1
        moved = func._schema.name == "aten::_to_copy" and (kwargs or {}).get("device") is not None
        self.counts["copies"] += bool(moved and args[0].device != kwargs["device"])
        return func(*args, **(kwargs or {}))


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Two pretended cards of compute capability 9.0 with 10 GB free, as far as torch tells."""
    said = SimpleNamespace(count=2, capability=(9, 0), current=[], free=10_000 * 2**20)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: said.count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: said.count)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: said.capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: CARD)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90", "compute_90"])
    monkeypatch.setattr(torch.cuda, "set_device", said.current.append)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (said.free, 80_000 * 2**20))
    return said


@pytest.fixture
def as_before() -> Iterator[None]:
    """What a test sets for the whole process is put back."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.deterministic = before[1]


def test_loaded_momentum_lies_as_its_parameter_does() -> None:
    run = small_run(channels_last=True)
    trainer = Trainer(run, small_data(run), CPU)
    trainer.begin_epoch(Clock(1, 0))
    trainer.train_epoch(Clock(1, 0), lambda *batch: None)
    state = State()
    state.take(trainer.model, trainer.optimizer, trainer.names)
    state.momentum = {name: value.contiguous() for name, value in state.momentum.items()}  # as a file has it

    resumed = Trainer(run, small_data(run), CPU)
    state.put(resumed.model, resumed.optimizer, resumed.names)
    buffers = {p: values["momentum_buffer"] for p, values in resumed.optimizer.state.items()}
    assert [p.stride() for p in buffers] == [buffer.stride() for buffer in buffers.values()]
    for before, after in zip(trainer.optimizer.state.values(), resumed.optimizer.state.values(), strict=True):
        assert torch.equal(before["momentum_buffer"], after["momentum_buffer"])


@pytest.mark.parametrize(("precision", "expected"), [("float32", "ieee"), ("tf32", "tf32"), ("bfloat16", "ieee")])
def test_precision_says_what_convolutions_are_computed_in(
    precision: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run(precision=precision)
    trainer = Trainer(run, small_data(run), CPU)
    seen = set()

    def noted(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            seen.add((torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))  # type: ignore[attr-defined]
            return function(*arguments)

        return call

    monkeypatch.setattr(Tensor, "backward", noted(Tensor.backward))
    monkeypatch.setattr(trainer.model, "forward", noted(trainer.model.forward))
    trainer.begin_epoch(Clock(1, 0))
    trainer.train_epoch(Clock(1, 0), lambda *batch: None)
    trainer.objective.measure(trainer.model, trainer.data.test.clean())
    assert seen == {(expected, "ieee")}


def test_an_epoch_copies_its_plan_to_the_device_once() -> None:
    images = torch.zeros(40, 8, 8, 3, dtype=torch.uint8)
    batches = Batches(
        images, torch.zeros(40), batch_size=4, mean=[0.5] * 3, std=[0.5] * 3, flip=True, crop_padding=1, device="meta",
        channels_last=True,
    )  # fmt: skip
    with Counted() as seen:
        assert len(list(batches.epoch(stream(0, "order"), stream(0, "augmentation")))) == 10
    assert seen.counts["copies"] == 3, "order, flips and offsets, of the epoch and not of its batches"


def test_faiss_searches_on_the_device_of_the_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[object] = []
    found: list[object] = []

    class Device:
        def __init__(self, device: object) -> None:
            self.device = device

        def __enter__(self) -> None:
            inside.append(self.device)

        def __exit__(self, *error: object) -> None:
            inside.clear()

    def search(*arguments: object, device: int) -> tuple[Tensor, Tensor]:
        found.append((tuple(inside), device))
        return torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.int64)

    monkeypatch.setattr(torch.cuda, "device", Device)
    monkeypatch.setattr("eval.knn_backends.load_faiss", lambda: SimpleNamespace(knn_gpu=search))
    monkeypatch.setattr("eval.knn_backends._gpu_resources", lambda: None)
    device = torch.device("cuda", 1)
    query: Any = SimpleNamespace(is_cuda=True, device=device, __len__=lambda: 1)
    monkeypatch.setattr(torch, "arange", lambda *arguments, **where: torch.zeros(1))
    faiss_candidates(
        query=_Sized(query), query_squares=None, batch=None, batch_squares=None, count=1, limit=None, width=1
    )  # type: ignore[arg-type]
    assert found == [((device,), 1)]


def test_faiss_for_cpus_beside_a_card_is_a_line_and_torchs_neighbours_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """faiss-cpu has no StandardGpuResources, which is asked for at the first search."""
    monkeypatch.setattr("eval.knn_backends.load_faiss", lambda: SimpleNamespace())
    monkeypatch.setattr("eval.knn_backends.faiss_candidates", lambda *arguments: _gpu_resources())
    figures = knn(Bench(CPU, tiny=True))
    assert figures["passed"]
    assert figures["torch"]["equals_float64"]
    assert figures["rates"]["searched"] > 0
    message = "found FAISS built for CPUs alone, expected one for a GPU: install faiss-gpu, or use `backend: torch`"
    assert figures["faiss"] == {"left_out": message}


class _Sized:
    """Queries on a card, as far as they are asked."""

    def __init__(self, said: Any) -> None:
        self.is_cuda, self.device = said.is_cuda, said.device

    def __len__(self) -> int:
        return 1


@pytest.mark.usefixtures("as_before")
def test_a_gpu_is_the_current_device_and_deterministic_as_runtime_says(
    card: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    device = torch_device(params_with(runtime={"device": "cuda:1"}).runtime)
    assert (device, card.current) == (torch.device("cuda", 1), [torch.device("cuda", 1)])
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]

    torch_device(params_with(runtime={"device": "cuda", "deterministic": False}).runtime)
    assert not torch.are_deterministic_algorithms_enabled()
    torch_device(params_with(runtime={"device": "cpu"}).runtime)
    assert not torch.are_deterministic_algorithms_enabled(), "a CPU's operations stay what they are"
    set_deterministic(True)


@pytest.mark.usefixtures("card")
def test_tests_compute_on_the_cpu_where_there_is_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params()
    assert device_named("auto").type == "cuda"
    for params in (params_with(), load_params()):
        assert torch_device(params.runtime) == CPU


@pytest.mark.usefixtures("as_before", "card")
def test_an_acceptance_is_deterministic_before_its_first_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the stages are that it stands for. Up to torch 2.9 the first product's environment holds for the process."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.use_deterministic_algorithms(False)
    seen: dict[str, tuple[Any, ...]] = {}

    def noting(name: str) -> acceptance.Section:
        def work(bench: Bench) -> dict[str, None]:
            workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
            cudnn = torch.backends.cudnn.deterministic
            seen[name] = bench.on_gpu, workspace, torch.are_deterministic_algorithms_enabled(), cudnn
            return {"passed": None}

        return acceptance.Section(work, 1)

    monkeypatch.setattr(acceptance, "SECTIONS", {name: noting(name) for name in acceptance.SECTIONS})
    with pytest.raises(SystemExit):
        acceptance.main(["--out", str(tmp_path / "acceptance.json")])
    assert seen == dict.fromkeys(acceptance.SECTIONS, (True, ":4096:8", True, True))


def test_features_that_change_between_the_passes_are_said() -> None:
    turns: list[int] = []
    base = torch.ones(50, 8, dtype=torch.float64)  # ties: nothing is certified by the first pass

    def batches() -> Iterator[tuple[Tensor, int]]:
        turns.append(1)
        yield base + (len(turns) - 1) * 10.0, 0

    with pytest.raises(FeaturesChanged, match=r"fewer than 3 neighbours in pass two; expected the same features"):
        exact_knn(torch.zeros(4, 8, dtype=torch.float64), batches, 3, memory_mb=64, spare=0)
    assert len(turns) == 2


@pytest.mark.parametrize("variable", ["TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NVIDIA_TF32_OVERRIDE"])
def test_tf32_by_the_environment_is_refused(
    variable: str, card: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(UserError, match=rf"^found {variable}=1, expected none: `precision` says .*; unset it$"):
        device_named("cuda")
    assert device_named("cpu") == CPU


def test_resume_states_are_written_by_time_and_beside_the_training(tmp_path: Path) -> None:
    clock = SimpleNamespace(now=0.0)
    path = tmp_path / "state.safetensors"
    state = State(model={"w": torch.ones(3)})
    with ResumeFile(path, 2, every_minutes=5, now=lambda: clock.now) as file:
        due = []
        for epoch in range(12):
            clock.now += 100.0
            due.append(file.due(epoch))
            if due[-1]:
                file.write(state)
        assert due == [False, False, False, True] * 3, "each second epoch, and five minutes at least between them"
    assert torch.equal(State.load(path).model["w"], torch.ones(3))
    assert [child.name for child in tmp_path.iterdir()] == ["state.safetensors"]


def test_writing_a_resume_state_does_not_hold_the_training_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    returned, waited = threading.Event(), []
    monkeypatch.setattr("seal.resume_file.save_tensors", lambda *_: waited.append(returned.wait(60)))
    with ResumeFile(tmp_path / "state.safetensors", 1) as file:
        file.write(State())
        returned.set()
    assert waited == [True], "the write went on after the training had gone on"


def test_what_writing_raised_is_raised_where_the_training_ends(tmp_path: Path) -> None:
    def train() -> None:
        with ResumeFile(tmp_path / ("x" * 300), 1) as file:
            file.write(State())

    with pytest.raises(OSError, match="File name too long"):
        train()


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Kernels that count, in place of those of a GPU."""
    calls: Counter[str] = Counter()

    def again(*arguments: object) -> bool:
        calls["again"] += 1
        return True

    def step(*arguments: object) -> None:
        calls["step"] += 1

    monkeypatch.setattr("seal.optim.load", lambda backend, device: backends.Kernel(step, again=again))
    monkeypatch.setattr("seal.optim.check_gradients", lambda *arguments: calls.update(["checked"]))
    return calls


def test_a_step_whose_tensors_have_not_moved_gathers_and_checks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch)
    params = [torch.zeros(4, requires_grad=True) for _ in range(3)]
    optimizer = SignedSGD([{"params": params[:1]}, {"params": params[1:]}], lr=0.1, momentum=0.9)
    for p in params:
        p.grad = torch.ones(4)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step()
    assert calls == {"checked": 2, "step": 1, "again": 1}

    kept = params[1].grad
    params[1].grad = torch.ones(4)
    optimizer.step()
    assert kept is not None
    assert calls["step"] == 2, "a gradient has moved"
    params[1].grad = torch.ones(2, 2).T.reshape(4)[::1]
    optimizer.state[params[0]]["momentum_buffer"] = torch.zeros(4)
    optimizer.step()
    params[2].grad = None
    optimizer.step()
    assert calls["step"] == 4, "so has momentum, and then one is gone"


def test_a_step_of_scales_and_shifts_makes_no_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Counter[str] = Counter()
    true = affines.batches_of

    def counted(*arguments: Any) -> Batches:
        made["batches"] += 1
        return true(*arguments)

    monkeypatch.setattr(affines, "batches_of", counted)
    params = params_with()
    section = params.fewshot_affines.model_copy(update={"statistics": "frozen", "batch_size": 2})
    images = torch.randint(256, (12, 28, 28, 3), dtype=torch.uint8, generator=stream(0, "images"))
    model = build(params.model, 3, stream(0, "initialisation")).eval()
    learner = HeadsAndAffines(section, params.training, model, images)
    at = torch.tensor([3, 1, 3])
    (expected, _), *_ = true(images[at], 3, params.training).clean()
    for _ in range(5):
        assert torch.equal(learner.pixels(at), expected)
    assert made["batches"] == 1


def test_a_full_gpu_is_a_line_that_says_what_to_lower(capsys: pytest.CaptureFixture[str]) -> None:
    def train() -> None:
        with stage("train@seal-0", timed=False) as timing:
            timing.lower = "training.batch_size"
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity")

    with pytest.raises(SystemExit) as ended:
        train()
    message = "error: CUDA out of memory. Tried to allocate 2.00 GiB; lower training.batch_size"
    assert str(ended.value) == message


@pytest.mark.usefixtures("as_before")
def test_an_operation_that_is_not_deterministic_is_a_line_that_names_the_parameter() -> None:
    """As a pooling's backward pass of alexnet and vgg is on a GPU; torch's words are the same of every operation."""
    torch.use_deterministic_algorithms(True)
    with pytest.raises(SystemExit) as ended, stage("train@seal-0", timed=False):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))
    remedy = "set runtime.deterministic to false, or take a network without it"
    assert str(ended.value) == f"error: put_ does not have a deterministic implementation on a GPU; {remedy}"


def test_another_runtime_error_stays_a_traceback() -> None:
    with pytest.raises(RuntimeError, match="of another kind"), stage("train@seal-0", timed=False):
        raise RuntimeError("of another kind")


def test_a_rate_is_read_when_the_steps_are_done() -> None:
    waited: list[int] = []

    class Loss:
        def item(self) -> float:
            waited.append(seen[0])
            time.sleep(0.05)  # until the device has done all that it was told
            return 0.0

    seen = [0]
    loss: Any = Loss()
    with TrainingProgress(small_run(), batches_per_epoch=10, done_epochs=0) as progress:
        for epoch in range(2):
            for number in range(10):
                seen[0] = number
                progress.on_batch(Clock(1, epoch), 8, loss, loss)
    assert waited == [0, 9, 0, 9], "once before the clock is read for the first time, once before the last"
    assert progress.images == 2 * 9 * 8
    assert progress.seconds >= 2 * 0.05


def test_timings_name_the_gpu_and_older_files_take_the_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: SimpleNamespace
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "timings").mkdir()
    (tmp_path / "timings/train@seal-0.csv").write_text("stage,seconds\ntrain@seal-0,3.00\n")
    append_timing("train@seal-0", 1.0, capture="steps are captured")
    header, old, new = (tmp_path / "timings/train@seal-0.csv").read_text().splitlines()
    assert header == ",".join(TIMING_COLUMNS)
    assert old.startswith("train@seal-0,3.00,")
    assert new.endswith(f",{CARD},steps are captured")


def test_counting_batches_is_one_operation_a_step() -> None:
    run = small_run()
    trainer = Trainer(run, small_data(run), CPU)
    trainer.begin_epoch(Clock(1, 0))
    counters = batch_counters(trainer.model)
    x, y = next(iter(trainer.data.train.clean()))
    with Counted() as seen:
        trainer.step(x, y)
    assert len(counters) == 20
    assert seen.counts["aten::_foreach_add_"] == 1
    assert seen.counts["aten::add_"] == 8, "the shortcuts of the blocks alone"
    assert {int(counter) for counter in counters} == {1}


def test_arithmetic_is_put_back() -> None:
    before = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    with pytest.raises(KeyError), arithmetic("float32"):
        raise KeyError
    assert torch.backends.cudnn.conv.fp32_precision == before  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "name", "message"),
    [
        (
            {"count": 0},
            "cuda",
            r"found cuda, but torch finds 0 GPUs here: it is built for CU?D?A?P?U?.*; set auto or cpu",
        ),
        ({}, "cuda:2", r"found cuda:2, but torch finds 2 GPUs here; set auto or cpu"),
        (
            {"capability": (7, 0)},
            "cuda",
            r"found NVIDIA H100 .* 7\.0, but this torch is built for sm_80, sm_90, compute",
        ),
    ],
    ids=["no driver", "no such card", "too old"],
)
def test_a_card_that_cannot_be_used_is_one_line(
    card: SimpleNamespace, said: dict[str, Any], name: str, message: str
) -> None:
    vars(card).update(said)
    with pytest.raises(UserError, match=rf"^runtime\.device: {message}") as error:
        device_named(name)
    assert "\n" not in str(error.value)
    assert card.current == []


def test_newer_cards_run_by_the_newest_architecture(card: SimpleNamespace) -> None:
    for card.capability in ((8, 9), (9, 0), (12, 0)):
        assert device_named("cuda") == torch.device("cuda", 0)


def test_the_acceptance_without_a_gpu_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "seal.accept", "--device", "cpu", "--out", str(tmp_path / "a.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: --device cpu: found no GPU, expected one; --tiny tries the script on a CPU\n"


def test_a_state_made_elsewhere_or_otherwise_is_refused_in_one_line(tmp_path: Path) -> None:
    run = small_run()
    here = making(Trainer(run, small_data(run), CPU))
    version = torch.__version__
    assert here == {"device": "cpu", "deterministic": False, "torch": version, "optimizer_backend": "cpu"}
    path, state = tmp_path / "state.safetensors", State(model={"w": torch.ones(1)})
    others = {"device": CARD, "deterministic": True, "torch": f"{version}.post1", "optimizer_backend": "reference"}
    for name, other in others.items():
        save_tensors(path, *state.packed(made_by=here | {name: other}))
        with pytest.raises(
            CheckpointError, match=rf"^{path}: found a state made by {name} {re.escape(str(other))}, expected .* anew$"
        ):
            require_same_making(path, State.load(path), here)

    save_tensors(path, *state.packed(made_by=here))
    require_same_making(path, State.load(path), here)
    state.save(path)  # a handover
    require_same_making(path, State.load(path), here | {"device": CARD})


def test_too_little_memory_is_said_before_work_starts(card: SimpleNamespace) -> None:
    device = torch.device("cuda", 1)
    require_memory(device, 9_000 * 2**20, "fewshot.memory_mb of 9000", "lower fewshot.memory_mb")
    message = (
        r"^fewshot\.memory_mb of 20000 needs 20,000 MB of cuda:1, found 10,000 MB free of NVIDIA H100 80GB HBM3; lower "
        r"fewshot\.memory_mb$"
    )
    with pytest.raises(UserError, match=message):
        require_memory(device, 20_000 * 2**20, "fewshot.memory_mb of 20000", "lower fewshot.memory_mb")
    require_memory(CPU, 1e18, "anything", "do nothing")
