"""Methods that hold a part of the weights at zero for a generation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seal.clock import Clock, Course
from seal.methods.method import Method, descend, descending
from seal.options import Scale, Share
from seal.rules import PARTS, NetworkView, Rule, Rules, Values

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pruning:
    """Of iterative magnitude pruning."""

    pruned_share: Share  # of what lives, at each generation's end
    rewound_share: Share  # k / E: weights go back to where generation 1 was after k >= 1 epochs; 0: to where it began


def imp(course: Course, options: Pruning) -> Method:
    """Iterative magnitude pruning with rewinding (Frankle and Carbin 2019; Frankle et al. 2019 for k > 0).

    As a later generation begins, the smallest of the weights that live are pruned, over all convolutions and the linear
    layer together; never biases or BatchNorm. The whole state goes back to what it was after k epochs of generation 1,
    and trains again with what lives. After g generations exactly round((1 - share)^(g - 1) N) of N weights live, ties
    by their order. Departure: rewound weights train for E epochs by the schedule from its start, not for E - k from k.
    """
    rewound_epochs = max(1, round(options.rewound_share * course.epochs)) if options.rewound_share else 0

    def alive(clock: Clock, network: NetworkView) -> Values:
        if clock.generation == 1 or clock.epoch > 0:
            return network.alive

        from seal.masks import largest

        share = (1 - options.pruned_share) ** (clock.generation - 1)
        return largest(network.weights, share, among=network.alive)

    def forget(clock: Clock, network: NetworkView) -> Values:
        if not clock.begins_later_generation:
            return {}
        return network.kept if rewound_epochs else network.initial()

    def keeps(clock: Clock) -> bool:
        return clock == Clock(1, rewound_epochs - 1)

    return Method(descending(course), forget, alive, keeps=keeps, looks_back=True)


@dataclass(frozen=True)
class DenseSparseDense:
    layer_pruned_share: Share  # of each layer, in a sparse generation
    dense_lr_scale: Scale  # of the rate, in a generation that is dense again


def dsd(course: Course, options: DenseSparseDense) -> Method:
    """Dense-sparse-dense training (Han et al. 2017): every second generation trains under a mask.

    As a sparse generation begins, the smallest weights of each convolution and of the linear layer are pruned; in the
    next one they are let go, from zero, at a lower rate. Departures: the source prunes once, at a share chosen for each
    network, here every even generation does; and its dense phases are not all of one length.
    """

    def is_sparse(clock: Clock) -> bool:
        return clock.generation % 2 == 0

    def rules(clock: Clock) -> Rules:
        if clock.generation == 1 or is_sparse(clock):
            return dict.fromkeys(PARTS, descend(course))
        return dict.fromkeys(PARTS, Rule(course.weight_decay, lr_scale=options.dense_lr_scale))

    def alive(clock: Clock, network: NetworkView) -> Values:
        if not is_sparse(clock):
            return {}
        if clock.epoch > 0:
            return network.alive

        from seal.masks import largest

        masks: dict[str, Tensor] = {}
        for name, value in network.weights.items():
            masks |= largest({name: value}, 1 - options.layer_pruned_share, among={})
        return masks

    return Method(rules, alive=alive, looks_back=True)


METHODS: dict[str, Callable[[Course, Any], Method]] = {
    "imp": imp,
    "dsd": dsd,
}
