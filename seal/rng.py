"""Named random streams from one seed: each purpose, generation and epoch has its own, so no draw shifts another."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def stream(seed: int, purpose: str, *at: int) -> torch.Generator:
    """A CPU generator that is a function of (seed, purpose, at) alone.

    `at` says when, e.g. the generation and the epoch. A training that is resumed at an epoch's start needs no stored
    generator state, and two methods with one seed draw the same batches. The key is a SHA-256, never `hash()`, which
    differs from process to process.
    """
    key = "/".join([str(seed), purpose, *map(str, at)]).encode()
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(key).digest()[:8], "little", signed=True))


def seed_from(generator: torch.Generator) -> int:
    """A seed for torch's global generator, for what draws from no other: a draw from this one."""
    return int(torch.randint(2**62, (), generator=generator))


@contextmanager
def torch_drawing_from(generator: torch.Generator) -> Iterator[None]:
    """What draws from torch's own generators, as a constructor does, draws by a seed of this one inside the block.

    After it they go on as if nothing had been drawn: the CPU's, and those of the GPUs where torch uses any. Where it
    does not yet, `torch.manual_seed` would leave them a seed for their beginning, so it is not called.
    """
    seed = seed_from(generator)
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpus = range(torch.cuda.device_count() if begun else 0)
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        if gpus:
            torch.cuda.manual_seed_all(seed)
        yield
