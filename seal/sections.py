"""The sections of params.yaml on data and training, as frozen, strict models; and a run, which is made of them.

config.py reads them, and every stage is told them as values. One long file, because params.yaml is: they stand side by
side as a reader goes through it.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from seal.blocks import BLOCKS

BASE_ARM = "normal"  # generation 1, trained once per seed and shared (base stage)
TRAINING = ("base", "train", "train_extra", "train_sensitivity")  # the pipeline's stages that train
BASE_KEYS = ("checkpoint",)  # what its networks depend on, of `generations`

# Beyond these bounds no machine trains, and memory or float32 would say so first.
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Above0 = Annotated[float, Field(gt=0, le=1e6)]
NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Side = Annotated[int, Field(ge=1, le=4096)]  # pixels
Width = Annotated[int, Field(ge=1, le=4096)]
Batch = Annotated[int, Field(ge=2, le=2**20)]  # BatchNorm cannot train on one image
Epochs = Annotated[int, Field(ge=0, le=10**6)]
Channels = Annotated[tuple[float, float, float], Field(strict=False)]
Precision = Literal["float32", "tf32", "bfloat16"]  # of products and convolutions: seal/precision.py
Positives = Annotated[tuple[Above0, Above0, Above0], Field(strict=False)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SplitFractions(Strict):
    """The last `test` of each class is test, the `val` before it val, in the source's order."""

    test: Fraction
    val: Fraction


class Columns(Strict):
    """Columns of a table of images, by name. Several label columns are one-hot: a 1 in that of the image's class."""

    file: str = "file"
    label: str | Annotated[list[str], Field(min_length=2)] = "label"
    split: str | None = None


class Preprocessing(Strict):
    """From an image file to its pack's square of RGB bytes; the defaults are what a pack without the section has."""

    orientation: Literal["stored", "exif"] = "stored"
    deep: Literal["error", "scale"] = "error"  # of 16 bits a channel: scaled to 8 by 255 / 65535
    alpha: Literal["drop", "black", "white"] = "drop"  # transparency, a palette's too
    fit: Literal["squash", "crop"] = "squash"  # crop: the shorter side to image_size, then the middle
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    antialias: bool = True

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        if self.interpolation == "lanczos" and not self.antialias:
            raise ValueError("antialias is false, expected true with interpolation lanczos, which always widens")
        return self


class Dataset(Strict):
    """A dataset's images: where they are, which are chosen, and how they are made squares (docs/own-images.md)."""

    source: str
    image_size: Side
    split: Literal["official"] | Annotated[str, Field(pattern=r"\.csv$")] | SplitFractions
    classes: list[str] | Positive | None = None
    images_per_class: Positive | None = None
    path: str | None = None
    label: Literal["parent", "top", "path"] | None = None  # of nested folders, which one is the class
    labels: str | None = None  # a csv of files and labels, in the folder or archive
    columns: Columns = Columns()
    group: str | None = None  # the column whose images stay on one side of a split
    draw: SplitFractions | None = None  # from train, where the split is official: what that lacks
    bad_images: Literal["error", "skip"] = "error"
    duplicates: Literal["error", "drop", "keep"] = "error"
    preprocessing: Preprocessing = Preprocessing()

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.source == "folder" and self.path is None:
            raise ValueError("`path` is missing, expected with source `folder`")
        if self.source != "folder" and (self.label or self.labels):
            raise ValueError("`label` and `labels` belong to source `folder`")
        if self.label and self.labels:
            raise ValueError("found `label` and `labels`, expected one: classes are folders, or stand in a csv")
        if not self.labels and (self.group or self.columns != Columns()):
            raise ValueError("`group` and `columns` belong to `labels`, the csv that has them")
        if self.draw and self.split != "official":
            raise ValueError("`draw` belongs to split official, for what that lacks")
        return self


class Model(Strict):
    depth: Literal[18, 50]
    width: Width
    stem: Literal["imagenet", "small"]
    classifier_bias: Literal["zero", "uniform"]


class NamedModel(Strict):
    """A network of torchvision's, and the options of what builds it there (seal/networks.py)."""

    network: Annotated[str, Field(pattern=r"^torchvision:\w+$")]
    options: dict[str, Any] = {}

    @field_validator("options")
    @classmethod
    def _are_its_own(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key, why in {"num_classes": "the dataset's", "weights": "those of the training"}.items():
            if key in options:
                raise ValueError(f"found {key}, which is {why}; leave it out")
        return options


OWN_MODEL, NAMED_MODEL = "model: ours", "model: torchvision's"  # the two kinds, as pydantic tells errors of them


def _kind_of_model(model: Any) -> str:
    named = isinstance(model, NamedModel) or (isinstance(model, dict) and "network" in model)
    return NAMED_MODEL if named else OWN_MODEL


AnyModel = Annotated[
    Annotated[Model, Tag(OWN_MODEL)] | Annotated[NamedModel, Tag(NAMED_MODEL)], Discriminator(_kind_of_model)
]


class Training(Strict):
    """What an epoch is made of; generation 1 depends on these alone."""

    epochs_per_generation: Positive
    batch_size: Batch
    learning_rate: Above0
    warmup_epochs: Epochs
    momentum: Fraction
    weight_decay: NonNegative
    label_smoothing: Fraction
    flip: bool
    crop_padding: Annotated[int, Field(ge=0, le=4096)]
    mean: Channels
    std: Positives
    precision: Precision
    channels_last: bool


class Generations(Strict):
    """What happens from generation to generation, whatever the method; their own numbers are in seal/methods."""

    num_generations: Positive
    schedule: Literal["per_generation", "one_cosine"]
    layer_threshold: Annotated[str, Field(min_length=1)]  # a module's name
    reset_momentum: bool
    reinitialiser: Literal["model", "kaiming_uniform"]
    checkpoint: Literal["last", "best"]
    kept_generations: list[Positive]
    on_divergence: Literal["fail", "record"]

    @property
    def with_weights(self) -> set[int]:
        """Those whose weights the record holds: of all that are trained, the ones that are kept, and the last."""
        wanted = (*self.kept_generations, self.num_generations)
        return {generation for generation in wanted if generation <= self.num_generations}


class Runtime(Strict):
    """How a run is carried out; no result may depend on it beyond rounding."""

    device: str
    threads: Annotated[int, Field(ge=1, le=4096)] | None
    optimizer_backend: Literal["auto", "reference", "cpu", "triton"]
    capture: Literal["auto", "off"] = "auto"
    deterministic: bool = True
    resume_every_epochs: Positive
    resume_every_minutes: NonNegative = 0
    track: bool


class Arm(Strict):
    """A method with its numbers, and values of `training` and `generations` changed for it alone."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    method: str

    @property
    def values(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Run(Strict):
    """One training: an arm with its values applied, and a seed."""

    tier: str
    arm: str
    seed: int
    method: str
    model: AnyModel
    training: Training
    generations: Generations
    options: Any  # the dataclass of the method's numbers

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.seed}"

    def facts(self) -> dict[str, Any]:
        """Every parameter that the run's networks depend on, as JSON values.

        Not the base's `layer_threshold`: its networks do not depend on it, only its rows' norm_early and norm_late do.
        """
        facts = self.model_dump(mode="json")
        if self.arm == BASE_ARM:
            kept = ("num_generations", "schedule", *BASE_KEYS)
            facts["generations"] = {key: facts["generations"][key] for key in kept}
        return facts

    @model_validator(mode="after")
    def _possible(self) -> Self:
        epochs, warmup = self.training.epochs_per_generation, self.training.warmup_epochs
        if warmup >= epochs:
            raise ValueError(f"warmup_epochs is {warmup}, expected less than epochs_per_generation = {epochs}")

        if isinstance(self.model, NamedModel):
            if self.generations.reinitialiser != "model":
                raise ValueError(
                    f"reinitialiser is {self.generations.reinitialiser}, expected model for {self.model.network}, "
                    "whose values are drawn anew as it draws them itself"
                )
            return self  # its modules are known where it is built

        threshold = self.generations.layer_threshold
        if not re.fullmatch(r"layer[1-4](\.\d+)?|fc", threshold):
            raise ValueError(
                f"generations.layer_threshold is {threshold!r}, expected one of layer1 to layer4, a block as layer3.1, "
                "or fc"
            )
        layer, _, block = threshold.partition(".")
        if block:
            blocks = BLOCKS[self.model.depth][int(layer[-1]) - 1]
            if int(block) >= blocks:
                raise ValueError(
                    f"layer_threshold is {self.generations.layer_threshold}, but {layer} of ResNet-{self.model.depth} "
                    f"has blocks 0 to {blocks - 1}"
                )
        return self
