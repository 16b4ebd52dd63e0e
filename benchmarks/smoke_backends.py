"""Where whole runs of the smoke tier end by each version of the signed step, against the reference's of the same seed.

    dvc repro pack@mnist_5k && python benchmarks/smoke_backends.py [--backends auto] [--seeds 0 1 2]

The smoke tier's parameters. A backend trains each seed's generation 1 once, and every
arm's second from it. Criterion: for every seed, arm, generation and measure

    |x of the backend - x of the reference| <= 3 sd,    sd: the reference's sample deviation over the seeds.

With it a control, the reference from first weights that are each one ulp up or down: how far rounding alone carries.
Where a run forgets its rounding altogether, its end and the reference's are two draws of one distribution, and sd comes
from three: drawn from a normal one, 14% of such differences exceed 3 sd, with no error anywhere.
"""

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from seal.checkpoint import State
from seal.config import Params
from seal.data.pack import PACKS, Pack, open_pack
from seal.loop import train
from seal.processor import cpu_name
from seal.rng import stream
from seal.sections import Run
from seal.tiers import tier_params
from seal.trainer import Trainer
from seal.training_data import make_data

ARMS = ("normal_long", "seal")
# Chosen before anything was run: the first two are the outcome, the others are beside it.
MEASURES = ("test_accuracy", "clean_loss", "train_loss", "val_accuracy")
CONTROL = "reference, one ulp off"
WITHIN = 3

Ends = dict[tuple[str, int, str], float]  # (arm, generation, measure) -> value


def one_ulp_off(trainer: Trainer, seed: int) -> None:
    generator = stream(seed, "ulps")
    for p in trainer.model.parameters():
        up = torch.rand(p.shape, generator=generator) < 0.5
        p.data = p.data.nextafter(torch.where(up, math.inf, -math.inf))


def trained(run: Run, pack: Pack, version: str, start: State | None) -> tuple[State, str]:
    """A whole run from that state, or from its beginning. Gives where it ended, and the backend that ran."""
    cpu = torch.device("cpu")
    trainer = Trainer(run, make_data(run, pack, cpu), cpu, "reference" if version == CONTROL else version)
    if version == CONTROL and start is None:
        one_ulp_off(trainer, run.seed)
    state = deepcopy(start) if start else State()
    with TemporaryDirectory() as folder:
        train(trainer, state, Path(folder), run.training.epochs_per_generation, lambda *_: None, lambda row: None)
    return state, trainer.optimizer.backend


def ends(params: Params, pack: Pack, version: str, seed: int) -> Ends:
    """Where a seed's runs end by that version: the shared generation 1, and each arm's second."""
    base, backend = trained(params.base_of(f"{ARMS[0]}-{seed}"), pack, version, None)
    ended = measures_of(base.generations[-1], "shared")
    accuracies = [f"shared {base.generations[-1]['test_accuracy']:.3f}"]

    for arm in ARMS:
        state, _ = trained(params.run(arm, seed), pack, version, base)
        for outcome in state.generations[1:]:
            ended |= measures_of(outcome, arm)
            accuracies.append(f"{arm} {outcome['test_accuracy']:.3f}")

    print(f"seed {seed}, {version} ({backend}): test accuracy {', '.join(accuracies)}", flush=True)
    return ended


def measures_of(outcome: Mapping[str, Any], arm: str) -> Ends:
    return {(arm, outcome["generation"], measure): outcome[measure] for measure in MEASURES}


def in_deviations(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Seed by seed, in the sample deviation of theirs; 0 for equal ones, infinite where theirs do not vary."""
    sd = statistics.stdev(theirs)
    distances = []
    for our, their in zip(ours, theirs, strict=True):
        difference = our - their
        if difference == 0:
            distances.append(0.0)
        else:
            distances.append(difference / sd if sd else math.copysign(math.inf, difference))
    return distances


def show(version: str, runs: Sequence[Ends], reference: Sequence[Ends]) -> None:
    print(f"\n{version}: differences from the reference, seed by seed, in its deviations")
    within = 0

    for key in reference[0]:
        theirs = [end[key] for end in reference]
        distances = in_deviations([end[key] for end in runs], theirs)
        within += sum(abs(distance) <= WITHIN for distance in distances)

        arm, generation, measure = key
        spread = f"reference {statistics.mean(theirs):.4f}, sd {statistics.stdev(theirs):.4f}"
        shown = " ".join(f"{distance:+7.2f}" for distance in distances)
        print(f"{arm:12} generation {generation}  {measure:13} {spread}  {shown}")

    print(f"{within} of {len(reference[0]) * len(runs)} within {WITHIN} sd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["auto"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()

    params = tier_params("smoke")
    pack = open_pack(PACKS / f"{params.source}.safetensors")
    print(f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}")

    runs = {}
    for version in ("reference", *arguments.backends, CONTROL):
        runs[version] = [ends(params, pack, version, seed) for seed in arguments.seeds]

    reference = runs.pop("reference")
    for version, of_seeds in runs.items():
        show(version, of_seeds, reference)


if __name__ == "__main__":
    main()
