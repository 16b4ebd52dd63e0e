"""Time of one signed step: torch's SGD in each of its forms, and ours, in turns.

    python benchmarks/signed_step.py [--rounds 15] [--device cpu]

For ResNet-18's and ResNet-50's tensors in two groups split at layer3, the early one ascending, with momentum 0.9 and
weight decay 5e-4, in float32. Each round times every version once, in an order that turns, each over as many steps as
fill a fifth of a second; the table gives medians over rounds, and medians of each round's ratio to torch's fused SGD.
Beside them the bytes that a step must move (p, g, m read, p, m written) and the time of a plain copy of as many.
"""

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from seal import SignedSGD, split_parameters
from seal.models import build
from seal.processor import cpu_name
from seal.rng import stream
from seal.sections import Model

ROUND_SECONDS = 0.2
NUMBERS = {"lr": 1e-4, "momentum": 0.9, "weight_decay": 5e-4}


def sides(depth: int, device: str) -> list[list[Tensor]]:
    """Fresh parameters of a ResNet, early and late, with gradients."""
    network = build(
        Model(depth=depth, width=64, stem="imagenet", classifier_bias="zero"), 200, stream(0, "initialisation"), device
    )
    split = split_parameters(network, "layer3")
    generator = stream(0, "gradients")
    for p in network.parameters():
        p.grad = (1e-3 * torch.randn(p.shape, generator=generator)).to(device)
    return [list(split.early.values()), list(split.late.values())]


def groups(depth: int, device: str) -> list[dict[str, object]]:
    early, late = sides(depth, device)
    return [{"params": early, "maximize": True}, {"params": late, "maximize": False}]


def versions(depth: int, device: str) -> dict[str, Callable[[], object]]:
    """What is timed, each on tensors of its own."""

    def torch_sgd(**form: bool) -> Callable[[], object]:
        return torch.optim.SGD(groups(depth, device), **NUMBERS, **form).step

    def ours(backend: str) -> Callable[[], object]:
        optimizer = SignedSGD(groups(depth, device), **NUMBERS, backend=backend)
        return optimizer.step

    source = torch.ones(elements(depth, device) * 5 // 2, device=device)  # five tensors' bytes, half of them read
    target = torch.empty_like(source)
    default = "cpu" if device == "cpu" else "triton"
    return {
        "torch SGD, fused": torch_sgd(fused=True),
        "torch SGD, foreach": torch_sgd(foreach=True),
        "torch SGD, loop": torch_sgd(foreach=False),
        "ours, reference": ours("reference"),
        f"ours, {default} (default)": ours(default),
        "plain copy of as many bytes": lambda: target.copy_(source),
    }


def elements(depth: int, device: str) -> int:
    early, late = sides(depth, device)
    return sum(p.numel() for p in (*early, *late))


def seconds(step: Callable[[], object], steps: int, device: str) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        step()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def in_turns(timed: Mapping[str, Callable[[], object]], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds a step of every version, once a round, in an order that turns."""
    steps = {name: max(1, round(ROUND_SECONDS / seconds(step, 3, device))) for name, step in timed.items()}
    times: dict[str, list[float]] = {name: [] for name in timed}

    order = deque(timed)
    for _ in range(rounds):
        for name in order:
            times[name].append(seconds(timed[name], steps[name], device))
        order.rotate(-1)
    return times


def show(depth: int, times: Mapping[str, list[float]], device: str) -> None:
    early, late = sides(depth, device)
    moved = 5 * 4 * elements(depth, device)
    print(f"\nResNet-{depth}: {len(early)} early and {len(late)} late tensors, {moved / 1e6:.0f} MB to move")

    fused = times["torch SGD, fused"]
    for name, values in times.items():
        middle = statistics.median(values)
        ratio = statistics.median(mine / theirs for mine, theirs in zip(values, fused, strict=True))
        spread = f"{min(values) * 1e3:.2f}-{max(values) * 1e3:.2f}"
        print(f"{name:28} {middle * 1e3:7.2f} ms ({spread})  {ratio:5.2f}  {moved / middle / 1e9:6.1f} GB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    arguments = parser.parse_args()

    device = arguments.device
    machine = torch.cuda.get_device_name() if device == "cuda" else f"{cpu_name()}, {torch.get_num_threads()} threads"
    print(f"{machine}, torch {torch.__version__}, medians of {arguments.rounds} rounds")

    for depth in (18, 50):
        show(depth, in_turns(versions(depth, device), arguments.rounds, device), device)


if __name__ == "__main__":
    main()
