"""The sections of params.yaml on data and training, as frozen, strict models."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Residual blocks in layer1..layer4 (He et al. 2016, table 1).
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Above0 = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Channels = Annotated[tuple[float, float, float], Field(strict=False)]
Positives = Annotated[tuple[Above0, Above0, Above0], Field(strict=False)]
# A parameter of seal/models.py's networks.
ParameterName = Annotated[
    str,
    Field(
        pattern=r"^((layer[1-4]\.\d+\.)?(conv1|bn1)|layer[1-4]\.\d+\.(conv[23]|bn[23]|downsample\.[01])|fc)\.(weight|bias)$"
    ),
]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SplitFractions(Strict):
    """The last `test` of each class is test, the `val` before it val, in the source's order."""

    test: Fraction
    val: Fraction


class Dataset(Strict):
    source: str
    image_size: Positive
    split: Literal["official"] | Annotated[str, Field(pattern=r"\.csv$")] | SplitFractions
    classes: list[str] | Positive | None = None
    images_per_class: Positive | None = None
    path: str | None = None

    @model_validator(mode="after")
    def _folder_has_a_path(self) -> Self:
        if (self.source == "folder") != (self.path is not None):
            raise ValueError("`path` belongs to source `folder`, and only to it")
        return self


class Model(Strict):
    depth: Literal[18, 50]
    width: Positive
    stem: Literal["imagenet", "small"]


class Training(Strict):
    """What an epoch is made of; generation 1 depends on these alone."""

    epochs_per_generation: Positive
    batch_size: Positive
    learning_rate: Above0
    warmup_epochs: Annotated[int, Field(ge=0)]
    momentum: Fraction
    weight_decay: NonNegative
    label_smoothing: Fraction
    flip: bool
    crop_padding: Annotated[int, Field(ge=0)]
    mean: Channels
    std: Positives
    precision: Literal["float32", "bfloat16"]
    channels_last: bool


class Generations(Strict):
    """What happens from generation to generation; each open choice of the paper is named here (artifact.md)."""

    num_generations: Positive
    schedule: Literal["per_generation", "one_cosine"]
    layer_threshold: Annotated[str, Field(pattern=r"^layer[1-4](\.\d+)?$")]
    first_ascent_generation: Positive
    ascent_epochs: Annotated[int, Field(ge=0)]
    ascent_lr_scale: NonNegative
    ascent_weight_decay: Literal["adjusted", "off", "grow"]
    reset_momentum: bool
    reinitialiser: Literal["model", "kaiming_uniform"]
    llf_reinitialises: Literal["weights", "all"]
    frozen_statistics: Literal["move", "hold"]
    reverse_fc: Literal["ascends", "descends"]
    reinit_untrained: list[ParameterName]
    checkpoint: Literal["last", "best"]
    kept_generations: list[Positive]
    on_divergence: Literal["fail", "record"]


class Runtime(Strict):
    """How a run is carried out; no result may depend on it beyond rounding."""

    device: str
    threads: Positive | None
    optimizer_backend: Literal["auto", "reference", "cpu", "compiled", "triton"]
    resume_every_epochs: Positive
    track: bool


class Arm(Strict):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    method: str

    @property
    def changes(self) -> dict[str, Any]:
        return dict(self.model_extra or {})
