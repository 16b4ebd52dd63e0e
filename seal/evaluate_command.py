"""`seal evaluate`: the words of its command line, as eval/own.py takes them (docs/own-network.md)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seal.errors import UserError, one_line_errors, short

if TYPE_CHECKING:
    from seal.config import Params

app = typer.Typer()
KEY_VALUE = "KEY=VALUE"


@app.command()
def evaluate(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="safetensors, or a state dict of torch.save")
    ],
    on: Annotated[str, typer.Option(metavar="DATASET", help="a key of `datasets` in params.yaml")],
    evaluations: Annotated[str, typer.Option("--what", help="evaluations, as transfer,fewshot")],
    model: Annotated[
        str | None,
        typer.Option(help="torchvision:NAME, or path/to/file.py:function, which is run; params.yaml's if left out"),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar=KEY_VALUE, help="for what builds the network; may be repeated")
    ] = None,
    size: Annotated[int | None, typer.Option(help="resize images to it, in pixels", min=1)] = None,
    mean: Annotated[str | None, typer.Option(metavar="R,G,B", help="of images, 0 to 1; with --std")] = None,
    std: Annotated[str | None, typer.Option(metavar="R,G,B", help="by which images are divided")] = None,
    drop_head: Annotated[bool, typer.Option("--drop-head", help="of a head with other classes: leave it out")] = False,
    name: Annotated[
        str | None, typer.Option(help="of the record, evaluated/NAME; the checkpoint's if left out")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar=KEY_VALUE, help="of params.yaml for this time, as hessian.batches=2"),
    ] = None,
) -> None:
    """Evaluate a network that you have, by the evaluations of the runs; no claim of the paper rests on it."""
    from eval.own import Asked, record_of
    from seal.own_records import own_numbers
    from seal.run_folder import RunFolder
    from seal.split_shown import options_of
    from seal.tracking.own import sync_own

    with one_line_errors():
        params = changed_params(changes or [])
        asked = Asked(
            checkpoint, on, [*filter(None, evaluations.split(","))], model, options_of(option or []), size,
            normalisation_of_flags(mean, std), drop_head, name,
        )  # fmt: skip
        record = record_of(asked, params)
        for number in own_numbers(RunFolder(record, {})):
            typer.echo(f"{number.words}: {number.text}")
        if params.runtime.track:
            sync_own()
        typer.echo(f"{record} is written; `seal report` and `seal ui` show it")


def changed_params(changes: Sequence[str]) -> "Params":
    """params.yaml with these values in place of its own, as `hessian.batches=2`. Raises UserError."""
    from seal.config import load_params, parse_params
    from seal.yaml_files import parse_yaml, read_yaml

    load_params()  # whatever is wrong of the file itself is said first
    raw = read_yaml(Path("params.yaml"), "correct it")
    for change in changes:
        key, equals, value = change.partition("=")
        *sections, last = key.split(".")
        place = raw
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not equals or not isinstance(place, dict):
            raise UserError(f"found --set {change}, expected a place of params.yaml, as hessian.batches=2")
        place[last] = parse_yaml(value, f"--set {short(change)}", "give KEY=VALUE, as --set hessian.batches=2")
    return parse_params(raw, "params.yaml with --set")


def normalisation_of_flags(mean: str | None, std: str | None) -> tuple[list[float], list[float]] | None:
    """Raises UserError unless both are given, three finite numbers each and `std` above 0, or neither."""
    if mean is None and std is None:
        return None
    try:
        means, stds = _numbers(mean), _numbers(std)
    except ValueError:
        means, stds = [], []
    if len(means) != 3 or len(stds) != 3 or not all(map(math.isfinite, means + stds)) or min(stds) <= 0:
        raise UserError(
            f"found --mean {mean} --std {std}, expected three numbers each, of --std above 0; give --mean 0.5,0.5,0.5 "
            "--std 0.25,0.25,0.25 or the like"
        )
    return means, stds


def _numbers(text: str | None) -> list[float]:
    return list(map(float, (text or "").split(",")))
