"""Training on the device: batches, steps by the loop and by graphs, resuming, every method, whole trainings."""

import math
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from seal.accept.bench import Bench, Result
from seal.accept.subjects import BATCH, data_of, equal, networks, run_of
from seal.batchnorm import running_statistics
from seal.captured import CapturedTrainer
from seal.checkpoint import State
from seal.clock import Clock
from seal.data.batches import Batches, Plan
from seal.data.planned import PlannedBatches
from seal.device import deterministic
from seal.loop import train
from seal.methods import METHODS
from seal.rng import stream
from seal.trainer import Trainer

PRECISIONS = ("tf32", "float32", "bfloat16")
TIMES_FASTER = 2.0  # a captured step against the loop's, at the paper's shape, to be reached
SMALL = (18, 4)


def ignored(clock: Clock, size: int, loss: Tensor, correct: Tensor) -> None:
    """In place of what counts batches."""


def batches(bench: Bench) -> Result:
    """The same images on every device, by the loop and by the plan that graphs read."""
    run = run_of("normal_long", bench, SMALL)
    count = 200 if bench.tiny else 1000
    here, of_cpu = data_of(run, bench, count).train, data_of(run, bench, count, torch.device("cpu")).train
    planned, as_on_the_cpu, as_planned = PlannedBatches(here), True, True
    planned.upload(_plan(here))

    for (x, y), (on_cpu, labels) in zip(_epoch(here), _epoch(of_cpu), strict=True):
        as_on_the_cpu &= torch.equal(x.cpu(), on_cpu) and torch.equal(y.cpu(), labels)
        planned_x, planned_y = planned.next(len(y))
        as_planned &= torch.equal(planned_x, x) and torch.equal(planned_y, y)

    def again() -> None:
        planned.position.zero_()
        planned.next(BATCH)

    began = time.perf_counter()
    _plan(here)
    return {
        "device_equals_cpu": as_on_the_cpu, "plan_equals_loop": as_planned, "passed": as_on_the_cpu and as_planned,
        "ms_to_draw_100000_images": (time.perf_counter() - began) * 1e3 * 100_000 / count,
        "us_a_batch_in_a_graph": bench.seconds(bench.graphed(again), 0.2) * 1e6,
    }  # fmt: skip


def _plan(data: Batches) -> Plan:
    return data.plan(stream(0, "order", 1, 0), stream(0, "augmentation", 1, 0))


def _epoch(data: Batches) -> Iterable[tuple[Tensor, Tensor]]:
    return data.epoch(stream(0, "order", 1, 0), stream(0, "augmentation", 1, 0))


def training(bench: Bench) -> Result:
    """Milliseconds a step by the loop and by graphs, in each precision, with and without determinism."""
    figures: Result = {}
    agree = True
    for depth, width in networks(bench):
        for precision in PRECISIONS:
            of_network = _of_network(bench, (depth, width), precision)
            agree &= bool(of_network["certificate"] and of_network["certificate"]["bit_equal"])
            figures[f"resnet{depth}_width{width}_{precision}"] = of_network

    of_paper = figures["resnet{}_width{}_tf32".format(*networks(bench)[-1])]
    faster = of_paper["times_faster"] >= TIMES_FASTER
    rates = {"trained": BATCH * 1e3 / of_paper["graph_ms_a_step"], "measured": of_paper["measured_images_s"]}
    return figures | {"rates": rates, "passed": (agree and faster) or not bench.on_gpu}


def _of_network(bench: Bench, shape: tuple[int, int], precision: str) -> Result:
    run = run_of("seal", bench, shape, precision=precision)
    data = data_of(run, bench, BATCH * (2 if bench.tiny else 8))
    loop, graphs = Trainer(run, data, bench.device), CapturedTrainer(run, data, bench.device)
    figures: Result = {"loop_ms_a_step": _ms_a_step(bench, loop), "graph_ms_a_step": _ms_a_step(bench, graphs)}
    figures |= {"certificate": graphs.certificate and asdict(graphs.certificate), "by_the_loop": graphs.why_not}
    figures["kernels_a_step"] = len(bench.kernels(partial(loop.step, *next(data.clean.clean()))))
    figures["measured_images_s"] = len(data.clean.images) / bench.seconds(partial(measure_clean, loop), 0.3, 3)

    with deterministic(bench.device, False):
        free = CapturedTrainer(run, data, bench.device)
        figures["graph_not_deterministic_ms_a_step"] = _ms_a_step(bench, free)
        figures["not_deterministic_by_the_loop"] = free.why_not
    return figures | {"times_faster": figures["loop_ms_a_step"] / figures["graph_ms_a_step"]}


def _ms_a_step(bench: Bench, trainer: Trainer) -> float:
    """Of epochs in which one side climbs; what is captured is captured before."""
    clock = Clock(2, 0)
    trainer.begin_epoch(clock)
    return bench.seconds(partial(trainer.train_epoch, clock, ignored), 0.8, 3) / len(trainer.data.train) * 1e3


def measure_clean(trainer: Trainer) -> None:
    with running_statistics(trainer.model):
        trainer.objective.measure(trainer.model, trainer.data.clean.clean())


def resume(bench: Bench) -> Result:
    """Interrupted after an epoch and taken up from the file equals uninterrupted: by loop and graphs, both layouts."""
    figures: Result = {}
    for channels_last in (False, True):
        for kind in (Trainer, CapturedTrainer):
            run = run_of("seal", bench, SMALL, channels_last=channels_last)
            layout = "channels_last" if channels_last else "contiguous"
            figures[f"{layout}_{kind.__name__}"] = _resumed(bench, kind, run)
    in_place = all(resumed["momentum_in_another_layout"] == 0 for resumed in figures.values())
    return figures | {"passed": in_place and all(resumed["bit_equal"] for resumed in figures.values())}


def _resumed(bench: Bench, kind: type[Trainer], run: object) -> Result:
    ends, elsewhere = [], 0
    for cut in (None, 3):
        trainer, state = kind(run, data_of(run, bench, 48), bench.device), State()  # type: ignore[arg-type]
        for number, clock in enumerate(trainer.course.clocks()):
            if number == cut:
                with tempfile.TemporaryDirectory() as folder:
                    state.save(Path(folder) / "state.safetensors")
                    state = State.load(Path(folder) / "state.safetensors")
                trainer = kind(run, data_of(run, bench, 48), bench.device)  # type: ignore[arg-type]
                state.put(trainer.model, trainer.optimizer, trainer.names)
                for p, values in trainer.optimizer.state.items():
                    elsewhere += p.stride() != values["momentum_buffer"].stride()

            trainer.begin_epoch(clock, state)
            trainer.train_epoch(clock, ignored)
            state.clock = clock
            state.take(trainer.model, trainer.optimizer, trainer.names)
        ends.append(trainer)

    return {"bit_equal": equal(*ends), "momentum_in_another_layout": elsewhere}


def methods(bench: Bench) -> Result:
    """Every method by graphs and by the loop, two generations: the same losses and bits, and how many captures."""
    figures: Result = {}
    images = 48 if bench.tiny else 80
    for method in METHODS:
        run = run_of(method, bench, SMALL)
        loop = Trainer(run, data_of(run, bench, images), bench.device)
        losses_of_loop, _ = _trained(loop)
        graphs = CapturedTrainer(run, data_of(run, bench, images), bench.device)
        losses_of_graphs, _ = _trained(graphs)

        figures[method] = {
            "bit_equal": equal(loop, graphs), "losses_equal": losses_of_loop == losses_of_graphs,
            "captures": len(graphs.graphs), "by_the_loop": graphs.why_not,
        }  # fmt: skip

    graphs_taken = not bench.on_gpu or all(of_method["captures"] for of_method in figures.values())
    alike = all(of_method["bit_equal"] and of_method["losses_equal"] for of_method in figures.values())
    return figures | {"passed": graphs_taken and alike}


def _trained(trainer: Trainer) -> tuple[list[float], int]:
    """The losses of the epochs of a whole training, and how many files it wrote."""
    state = State()
    with tempfile.TemporaryDirectory() as folder:
        train(trainer, state, Path(folder), 100, ignored, lambda row: None)
        files = len([*Path(folder).rglob("*.*")])
    return [row["train_loss"] for row in state.rows], files


def generation(bench: Bench) -> Result:
    """A short training of each main arm at the paper's shape, measurements, weights and predictions included."""
    figures: Result = {}
    passed = True
    for method in ("normal_long", "llf", "seal"):
        run = run_of(method, bench, networks(bench)[-1], precision="tf32")
        trainer = CapturedTrainer(run, data_of(run, bench, 80 if bench.tiny else 656), bench.device)
        began = time.perf_counter()
        losses, files = _trained(trainer)
        bench.wait()

        figures[method] = {
            "seconds": time.perf_counter() - began, "losses": losses, "files": files,
            "peak_bytes": torch.cuda.max_memory_allocated(bench.device) if bench.on_gpu else 0,
        }  # fmt: skip
        passed &= files == 5 and all(map(math.isfinite, losses))
    return figures | {"passed": passed}
