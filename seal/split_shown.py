"""`seal split`: what lies on either side of a network, in numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from seal.errors import UserError, first_line, short
from seal.networks import build_named
from seal.split import split_parameters
from seal.yaml_files import parse_yaml


def show_split(name: str, at: str, size: int, options: Sequence[str]) -> None:
    """Print a table: of each side its tensors, parameters and share. Raises UserError."""
    network = build_named(name, options_of(options))
    try:
        sides = split_parameters(network, at, torch.zeros(1, 3, size, size))
    except (ValueError, RuntimeError, AssertionError) as error:  # an input that does not fit is any of them
        raise UserError(f"{name}, on an image of {size}x{size}: {first_line(error)}") from error

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("side")
    for column in ("tensors", "parameters", "share"):
        table.add_column(column, justify="right")
    table.add_column("first parameter")

    whole = sum(value.numel() for value in (sides.early | sides.late).values())
    for side, parameters in (("early", sides.early), ("late", sides.late)):
        count = sum(value.numel() for value in parameters.values())
        table.add_row(side, f"{len(parameters)}", f"{count:,}", f"{count / whole:.1%}", next(iter(parameters)))
    Console(soft_wrap=True).print(table, highlight=False)


def options_of(words: Sequence[str]) -> Mapping[str, Any]:
    """`image_size=64` as a number, `stem=small` as text: values are YAML. Raises UserError."""
    options = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise UserError(f"found --option {word}, expected KEY=VALUE, as --option image_size=64")
        options[key] = parse_yaml(value, f"--option {short(word)}", "give KEY=VALUE, as --option image_size=64")
    return options
