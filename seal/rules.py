"""What a method is asked and answers with: the network's parts, the rule of each, and what it may look at.

Methods speak in these words, phases.py compares them and the trainer follows them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # torch takes seconds to import, and who reads parameters alone should not wait for it
    from torch import Tensor, nn

    from seal.split import Sides

# The optimizer's groups: before the layer threshold; from it on, without the linear layer; and that, which follows late
# everywhere but in one variant of `seal_reverse`.
Part = Literal["early", "late", "fc"]
PARTS: tuple[Part, ...] = ("early", "late", "fc")
Values = Mapping[str, "Tensor"]  # by the name of a parameter, or of a statistic of BatchNorm


@dataclass(frozen=True)
class Rule:
    """How one part moves in an epoch: at lr_scale times the clock's rate, up or down the loss, or not at all."""

    weight_decay: float
    lr_scale: float = 1.0
    maximize: bool = False
    frozen: bool = False
    hold_statistics: bool = False


Rules = dict[Part, Rule]


@dataclass(frozen=True)
class Toss:
    """A chance that a step of the epoch follows other rules than the epoch's own."""

    chance: float
    rules: Rules
    turns_momentum: bool = False  # such a step goes against its momentum too, not its gradient alone


@dataclass(frozen=True)
class NetworkView:
    """What a method may look at as an epoch begins."""

    sides: "Sides"  # as the last epoch left them, on the run's device
    drawn: Callable[[Iterable[str]], Values]  # new values of the named parameters, on the CPU, by `reinitialiser`
    initial: Callable[[], Values]  # of all parameters and statistics, as the training began
    kept: Values = field(default_factory=dict)  # the network as the epoch ended that the method `keeps`
    alive: Values = field(default_factory=dict)  # the last epoch's masks

    @cached_property
    def weights(self) -> dict[str, "nn.Parameter"]:
        """Those of layers, in the model's order: no bias, and nothing of a normalisation."""
        return weights_of(self.sides)

    @property
    def classifier(self) -> str:
        """The name of the last of them."""
        return list(self.weights)[-1]


def weights_of(sides: "Sides") -> dict[str, "nn.Parameter"]:
    """Parameters of two dimensions or more whose names end in `weight`: of convolutions and linear layers, and an
    attention's `in_proj_weight`."""
    parameters = sides.early | sides.late
    return {name: value for name, value in parameters.items() if value.ndim > 1 and name.endswith("weight")}


def parts(sides: "Sides", classifier: str = "fc") -> dict[Part, dict[str, "nn.Parameter"]]:
    """The two sides' parameters by part: the late side without the linear layer of this name, and that apart."""
    late: dict[str, nn.Parameter] = {}
    fc: dict[str, nn.Parameter] = {}
    for name, value in sides.late.items():
        part = fc if name.startswith(f"{classifier}.") else late
        part[name] = value
    return {"early": sides.early, "late": late, "fc": fc}
