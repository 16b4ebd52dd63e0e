"""`seal evaluate`: a checkpoint from elsewhere through the same evaluations as the runs, on a dataset of params.yaml.

What cannot be evaluated is refused before anything long begins. The record is a folder of its own, evaluated/NAME/,
which no claim of the paper reads; its values are those that a stage gives of the same weights.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from eval.affines import refuse_other_networks
from eval.blocks import blocks_in_order
from eval.evaluation import EvaluationStage, folder_name, written_whole
from eval.features import Adapted
from eval.networks import TrainedNetwork, own_network
from seal.data.pack import Pack
from seal.device import torch_device
from seal.errors import UserError, first_line, short
from seal.models import ResNet, block_names, is_named
from seal.networks import TORCHVISION, build_named, head_of, normalisation_of
from seal.record import OWN, OWN_FACTS, file_sha256, read_json, write_json
from seal.stage import progress_bar, stage
from seal.weights import Weights, put_weights, read_weights

if TYPE_CHECKING:
    from seal.config import Params

OF_THE_HEAD = ("prediction_depth", "hessian")  # what asks the network itself for the dataset's classes
GENERATION = 0  # of no training


@dataclass(frozen=True)
class Asked:
    """What a person asks for."""

    checkpoint: Path
    on: str  # a key of `datasets`
    what: Sequence[str]  # of EVALUATIONS
    model: str | None = None  # as build_named takes it; None: the section `model` of params.yaml
    options: Mapping[str, Any] = field(default_factory=dict)  # of what builds it
    size: int | None = None  # that images are resized to; None: as the stages see them
    normalisation: tuple[list[float], list[float]] | None = None  # mean and deviation; None: the weights' own
    drop_head: bool = False
    name: str | None = None  # of the record; None: the checkpoint's


@dataclass
class OwnEvaluationStage(EvaluationStage):
    """A stage of one network that is no run's."""

    network: TrainedNetwork | None = None
    record: Path = OWN

    @property
    def folder(self) -> Path:
        return self.record / "eval" / folder_name(self.name, self.target or self.params.source)

    def networks(self, generations: object) -> Iterator[TrainedNetwork]:
        assert self.network is not None
        yield self.network

    def _facts(self) -> dict[str, Any]:
        return super()._facts() | {"tier": "own", "arm": self.record.name, "target": self.target or self.params.source}


def record_of(asked: Asked, params: "Params") -> Path:
    """Evaluate a checkpoint by the sections of these parameters. Gives the record's folder. Raises UserError."""
    from seal.data.selection import chosen_pack  # it needs pydantic, as below
    from seal.evaluations import EVALUATIONS

    _are_evaluations(asked.what, [*EVALUATIONS])
    asked = replace(asked, size=asked.size or _size_of(asked, params))
    record = OWN / _name_of(asked)
    if asked.on not in params.datasets:
        raise UserError(f"--on {asked.on}: no such dataset, expected one of {', '.join(params.datasets)}")

    weights = read_weights(asked.checkpoint)
    pack = chosen_pack(asked.on, params.datasets[asked.on])
    network, notes = network_of(asked, params, weights, pack)
    params, shown = shown_as(asked, params)
    facts = {
        "name": record.name, "checkpoint_sha256": network.sha256, "model": asked.model or "params.yaml",
        "options": dict(asked.options), "size": asked.size, "head": "dropped" if asked.drop_head else "kept",
        "mean": list(params.training.mean), "std": list(params.training.std),
    }  # fmt: skip
    _is_the_same(record / OWN_FACTS, facts)
    for line in (*weights.notes, *notes, shown):
        print(f"{asked.checkpoint}: {line}")

    device = torch_device(params.runtime)
    network.model.to(device)
    write_json(record / OWN_FACTS, facts)
    for evaluation in asked.what:
        target = asked.on if EVALUATIONS[evaluation].targeted else None
        with stage(f"evaluate@{record.name}", timed=False, prefix=evaluation) as timing, progress_bar() as bar:
            run = params.run("normal", 0)
            own = OwnEvaluationStage(
                evaluation, target, params, run, device, bar, timing, network=network, record=record
            )
            with written_whole(own):
                import_module(f"eval.{evaluation}").look(own)
            network.model.requires_grad_(False)
    return record


def _size_of(asked: Asked, params: "Params") -> int | None:
    """Of the images that torchvision's network of params.yaml is trained on, to which its stages resize others."""
    if asked.model is None and is_named(params.model):
        return params.datasets[params.source].image_size
    return None


def network_of(asked: Asked, params: "Params", weights: Weights, pack: Pack) -> tuple[TrainedNetwork, list[str]]:
    """The network with its weights, and what was done to them. Raises UserError where they are another's, or where an
    evaluation that is asked for has no use for it."""
    size = asked.size or pack["train"].images.shape[1]
    example = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    network, head = _built(asked, params, weights, example)
    notes = put_weights(network, weights, head, asked.drop_head)

    classes, wanted = network.get_submodule(head).out_features, len(pack.classes)
    for evaluation in (name for name in OF_THE_HEAD if name in asked.what):
        if asked.drop_head:
            problem = "asks the network's head, which --drop-head leaves out"
        elif classes != wanted:
            problem = f"the network's head has {classes} classes, {pack.name} has {wanted}"
        else:
            continue
        raise UserError(f"{evaluation}: {problem}; leave it out of --what")
    if "fewshot_affines" in asked.what:
        try:
            refuse_other_networks(network, example)
        except ValueError as error:
            raise UserError(f"fewshot_affines: {error}") from None

    sha256 = file_sha256(asked.checkpoint)
    if isinstance(network, ResNet) and asked.size is None and not is_named(params.model):
        return TrainedNetwork(network, GENERATION, sha256, block_names(params.model)), notes
    blocks = blocks_in_order(network, example) if "prediction_depth" in asked.what else []
    adapted = Adapted(network, head, asked.size).eval()
    return TrainedNetwork(adapted, GENERATION, sha256, {name: f"network.{name}" for name in blocks}), notes


def _built(asked: Asked, params: "Params", weights: Weights, example: Tensor) -> tuple[nn.Module, str]:
    """The network, untrained and in eval() mode, and its head's name."""
    section, name = params.model, asked.model or "params.yaml's network"
    if asked.model is not None:
        network = build_named(asked.model, asked.options)
    elif is_named(section):
        network = build_named(section.network, {**section.options, **asked.options})
    else:
        network = own_network(section, weights.tensors)

    network.eval().requires_grad_(False)
    try:
        return network, head_of(network, example)
    except (ValueError, RuntimeError, AssertionError) as error:  # an input that does not fit is any of them
        size = example.shape[-1]
        raise UserError(
            f"{name}, on an image of {size}x{size}: {first_line(error)}; give --size, or an --option for this size"
        ) from error


def shown_as(asked: Asked, params: "Params") -> tuple["Params", str]:
    """The parameters with the dataset and the network's way to see images; and that in words."""
    mean, std, whose = [*params.training.mean], [*params.training.std], "params.yaml's"
    if asked.normalisation is not None:
        (mean, std), whose = asked.normalisation, "as given"
    elif asked.model is not None and (own := normalisation_of(asked.model)):
        (mean, std), whose = own, f"of {asked.model.removeprefix(TORCHVISION)}'s weights at torchvision"

    training = params.training.model_copy(update={"mean": tuple(mean), "std": tuple(std)})
    size = f"resized to {asked.size}x{asked.size}" if asked.size else "as packed"
    words = f"images {size}, mean {mean}, std {std}, {whose}"
    return params.model_copy(update={"training": training, "source": asked.on}), words


def _are_evaluations(what: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [name for name in what if name not in known]:
        raise UserError(f"--what {unknown[0]}: no such evaluation, expected of {', '.join(known)}")
    if not what:
        raise UserError(f"--what is empty, expected of {', '.join(known)}")


def _name_of(asked: Asked) -> str:
    """The record's name. Raises UserError for one that names no folder directly below OWN, where records are found."""
    name = asked.name or asked.checkpoint.name.partition(".")[0]
    if not re.fullmatch(r"[\w.-]+", name) or name in (".", ".."):
        raise UserError(
            f"{asked.checkpoint}: found {short(name) or 'nothing'} as the record's name, expected letters, digits, "
            "`_`, `.` and `-`; give such a --name"
        )
    return name


def _is_the_same(path: Path, facts: Mapping[str, Any]) -> None:
    """Raises UserError where the name is another network's record, or the same one's seen in another way; and where
    what it was cannot be read."""
    if not path.is_file():
        return

    try:
        before = read_json(path)
    except (ValueError, RecursionError):
        before = None
    if not isinstance(before, dict):
        raise UserError(f"{path}: not the JSON that it was written as; delete the folder, or give another --name")

    for key in {**before, **facts}:
        was, expected = (values.get(key, "not there") for values in (before, facts))
        if was != expected:
            raise UserError(
                f"{path}: {key} is {short(str(was))}, expected {expected}; give another --name, or delete the folder"
            )
