"""Where the time of a training step on a CPU goes, by kind of operator.

    python -m benchmarks.step [--tiers mini regime] [--steps 40] [--threads 1]

Self time of torch's operators by its profiler. "Python and dispatch" is autograd's own nodes and what lies between
operators, the profiler's cost included.
"""

import argparse
import time
from collections import defaultdict

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.methods import describe, random_data
from seal.clock import Clock
from seal.processor import cpu_name
from seal.tiers import TIERS, tier_params
from seal.trainer import Trainer

# An operator is of the first kind that has a word of its name; those of no kind are dispatch.
KINDS = {
    "convolutions": ("convolution",),
    "batch normalisation": ("native_batch_norm",),
    "ReLU, pooling, sums of branches, classifier": ("clamp_min", "threshold", "pool2d", "aten::add", "mean", "addmm"),
    "batches: gather, augmentation, floats": ("index_select", "aten::div_", "aten::sub_", "constant_pad"),
    "the signed step": ("_fused_sgd_", "SignedSGD"),
    "copies and fills": ("copy_", "fill_", "zero_"),
}
DISPATCH = "Python and dispatch"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiers", nargs="+", default=["mini", "regime"], choices=TIERS)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    print(f"{cpu_name()}, {arguments.threads} threads, torch {torch.__version__}")
    for tier in arguments.tiers:
        show(tier, arguments.steps)


def show(tier: str, steps: int) -> None:
    params = tier_params(tier)
    run = params.run("normal_long", 0)
    trainer = Trainer(run, random_data(run, steps), torch.device("cpu"))
    trainer.begin_epoch(Clock(1, 0))
    epoch(trainer)
    plain = epoch(trainer)

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        profiled = epoch(trainer)

    seconds: dict[str, float] = defaultdict(float)
    for operator in profiler.key_averages():
        seconds[kind_of(operator.key)] += operator.self_cpu_time_total / 1e6
    seconds[DISPATCH] += profiled - sum(seconds.values())

    layout = "channels_last" if run.training.channels_last else "contiguous"
    print(f"\n{tier}: {describe(params)}, {run.training.precision}, {layout}")
    print(f"{1000 * plain / steps:.1f} ms a step, {1000 * profiled / steps:.1f} under the profiler\n")
    print("| | share of a step |\n|---|---|")
    for kind in sorted(seconds, key=seconds.__getitem__, reverse=True):
        print(f"| {kind} | {seconds[kind] / profiled:.1%} |")


def kind_of(operator: str) -> str:
    for kind, words in KINDS.items():
        if any(word in operator for word in words):
            return kind
    return DISPATCH


def epoch(trainer: Trainer) -> float:
    """Seconds of one."""
    began = time.perf_counter()
    trainer.train_epoch(Clock(1, 0), lambda *batch: None)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
