"""Mutations of what we read, each a function of a random generator: values of JSON and YAML, and bytes."""

import copy
import random
from collections.abc import Callable
from typing import Any

EXTREME = [
    None, True, -1, 0, 1e300, -1e300, 10**30, "", "x" * 5000, "\x1b[31m", "../../etc/passwd", "<script>", [], {}, [[]],
    {"a": {}}, "2024-13-41", "nan", float("inf"), "é\u202e", 0.5, "[bold]", "a\nb",
]  # fmt: skip


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value that stands in a dict or a list."""
    keys = document.keys() if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    ways = []
    for key in list(keys)[:200]:
        ways += [(*path, key), *places(document[key], (*path, key))]
    return ways


def mutated(document: Any, rng: random.Random) -> Any:
    """A copy with a value removed, doubled, renamed, of another type or extreme."""
    document = copy.deepcopy(document)
    ways = places(document)
    if not ways or rng.random() < 0.03:
        return rng.choice(EXTREME)

    *way, last = rng.choice(ways)
    parent = document
    for key in way:
        parent = parent[key]

    kind = rng.choice(["remove", "extreme", "extreme", "wrap", "rename", "swap"])
    if kind == "remove":
        del parent[last]
    elif kind == "wrap":
        parent[last] = [parent[last]] * 2
    elif kind == "rename" and isinstance(parent, dict):
        parent[f"{last}_"] = parent.pop(last)
    elif kind == "swap":
        *other_way, other = rng.choice(ways)
        value: Any = document
        for key in (*other_way, other):
            value = value[key] if isinstance(value, dict | list) and key in _keys(value) else value
        parent[last] = copy.deepcopy(value)
    else:
        parent[last] = rng.choice(EXTREME)
    return document


def _keys(value: Any) -> Any:
    return value.keys() if isinstance(value, dict) else range(len(value))


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 8, 64])):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def zeroed(content: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(content) + 1)
    end = min(len(content), begin + rng.choice([1, 16, 4096]))
    return content[:begin] + bytes(end - begin) + content[end:]


def doubled(content: bytes, rng: random.Random) -> bytes:
    """A stretch of it twice: lines of a text, keys of YAML."""
    begin = rng.randrange(len(content) + 1)
    return content[: begin + 40] + content[begin:]


def noise(content: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([0, 1, 100, 5000]))


BYTES: list[Callable[[bytes, random.Random], bytes]] = [cut, flipped, zeroed, doubled, noise]


def spoiled(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(BYTES)(content, rng)
