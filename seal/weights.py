"""A checkpoint from elsewhere, as plain tensors that go into a network: what had to be done to it is said.

`seal evaluate` reads by it. A file is recognised by its content, never by its name, and no code in it is run.
"""

import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from seal.errors import UserError, first_line, short

EXPECTED = "expected a safetensors file, or a state dict that torch.save wrote"
WRAPPERS = ("state_dict", "model", "model_state_dict")  # keys under which a training keeps its network
PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel and of torch.compile
SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Weights:
    path: Path
    tensors: Mapping[str, Tensor]  # on the CPU
    notes: tuple[str, ...]  # what was done to what the file holds


def read_weights(path: Path) -> Weights:
    """Raises UserError, a line, for what is no such file, holds code, or numbers that are not finite."""
    tensors, wrapper = _unwrapped(_content(path), path)
    notes = [f"took its {wrapper!r}"] if wrapper else []

    while prefix := _prefix_of_all(tensors):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
        notes.append(f"stripped {prefix!r} from every name")

    for name, value in tensors.items():
        if not value.isfinite().all():
            raise UserError(f"{path}: {name} has numbers that are not finite, expected a trained network's")
    return Weights(path, tensors, tuple(notes))


def put_weights(network: nn.Module, weights: Weights, head: str, drop_head: bool) -> list[str]:
    """Load them into the network; `head` names its last layer, which keeps its own values under `drop_head`.

    Gives what was done. Raises UserError where names or shapes are another network's, or the head's classes differ.
    """
    tensors, expected = dict(weights.tensors), network.state_dict()
    notes = []
    if drop_head:
        of_head = [name for name in expected if name.startswith(f"{head}.")]
        tensors |= {name: expected[name] for name in of_head}
        notes.append(f"dropped its head: {', '.join(of_head)} stay as drawn")

    _are_the_same(tensors.keys(), expected.keys(), weights.path)
    casts = set()
    for name, own in expected.items():  # in the network's order: safetensors gives its tensors in none
        met = tensors[name]
        if met.shape != own.shape:
            remedy = "give --option num_classes=N, or --drop-head" if name.startswith(f"{head}.") else "is it another?"
            shapes = f"is {tuple(met.shape)}, the network's is {tuple(own.shape)}"
            raise UserError(f"{weights.path}: {name} {shapes}; {remedy}")
        if met.dtype != own.dtype:
            casts.add(f"cast {met.dtype} to {own.dtype}".replace("torch.", ""))

    network.load_state_dict(tensors)
    return [*notes, *sorted(casts)]


def _content(path: Path) -> Any:
    """What the file holds, read by the format that its first bytes tell."""
    if not path.exists():
        raise UserError(f"{path}: not found, {EXPECTED}")
    if path.is_dir():
        raise UserError(f"{path}: is a folder, {EXPECTED}")

    with path.open("rb") as file:
        start = file.read(9)
    if not start:
        raise UserError(f"{path}: is empty, {EXPECTED}")
    if start[8:] == b"{":
        try:
            return safetensors.torch.load(path.read_bytes())  # no mapping: the file may be written anew
        except Exception as error:  # safetensors has one of its own, and others for what it can't parse
            raise UserError(f"{path}: not a whole safetensors file ({short(str(error))}), copy it again") from None

    if start.startswith(b"PK"):
        _is_of_torch(path)
    elif not start.startswith(b"\x80"):
        raise UserError(f"{path}: neither safetensors nor what torch.save writes, {EXPECTED}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # refused code, or whatever damage leads to
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code or "weights_only" in str(error):
            holds = f"code ({code[1]})" if code else "more than tensors"
            raise UserError(
                f"{path}: holds {holds}, which weights_only=True refuses to run; save model.state_dict() alone"
            ) from None
        raise UserError(f"{path}: damaged ({short(first_line(error))}), {EXPECTED}") from None


def _is_of_torch(path: Path) -> None:
    """Raises UserError for a zip that is cut off, or that something else wrote."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: cut off, its end is missing; copy it again")
    with zipfile.ZipFile(path) as archive:
        if not any(name.endswith("/data.pkl") for name in archive.namelist()):
            raise UserError(f"{path}: a zip of other files, {EXPECTED}; unpack it first")


def _unwrapped(content: Any, path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors by name, and the key under which they were."""
    if isinstance(content, Mapping):
        for wrapper in WRAPPERS:
            if isinstance(inner := content.get(wrapper), Mapping):
                return _unwrapped(inner, path)[0], wrapper

    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path}: holds {type(content).__name__}, expected a state dict: names and tensors")
    named = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if others := [str(key) for key in content if key not in named]:
        raise UserError(f"{path}: {_some(others)}: no name of a tensor, expected a state dict: names and tensors")
    return named, ""


def _prefix_of_all(names: Iterable[str]) -> str:
    """That of PREFIXES with which every name begins; empty where none does."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in names):
            return prefix
    return ""


def _are_the_same(met: Iterable[str], expected: Iterable[str], path: Path) -> None:
    """Raises UserError with the first names that are on one side alone, and the nearest to them."""
    missing, unexpected = sorted({*expected} - {*met}), sorted({*met} - {*expected})
    told = []
    for words, names, others in (("missing", missing, unexpected), ("unexpected", unexpected, missing)):
        if names:
            near = get_close_matches(names[0], others, n=1)
            told.append(f"{words} {_some(names)}" + (f" (nearest: {near[0]})" if near else ""))
    if told:
        raise UserError(f"{path}: not this network's: {'; '.join(told)}; name its network by --model and --option")


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
