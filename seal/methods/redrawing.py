"""Methods that draw a part of every weight anew as a generation begins, and keep the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from seal.clock import Clock, Course
from seal.methods.method import Method, descending
from seal.options import Scale, Share
from seal.rules import NetworkView, Values


@dataclass(frozen=True)
class Evolution:
    """Of Knowledge Evolution."""

    split_rate: Share  # s, what belongs to the fit hypothesis: of elements (WELS), or of filters and of kernels (KELS)


def ke_wels(course: Course, options: Evolution) -> Method:
    """Knowledge Evolution with weight-level splitting (Taha, Shrivastava and Davis 2021).

    Each element of every convolution and of the linear layer's weight belongs to the fit hypothesis with chance s,
    drawn once for the whole training; as a later generation begins the others are drawn anew. BatchNorm and biases are
    kept. Departures: values are drawn by the run's `reinitialiser`, and momentum is cleared as `reset_momentum` says.
    """

    def masks(network: NetworkView) -> Values:
        from seal.masks import of_elements
        from seal.rng import stream

        split = {}
        for name, value in network.weights.items():
            generator = stream(course.seed, f"split {name}")
            split[name] = of_elements(value.shape, options.split_rate, generator)
        return split

    return _evolution(course, masks)


def ke_kels(course: Course, options: Evolution) -> Method:
    """Knowledge Evolution with kernel-level splitting (Taha, Shrivastava and Davis 2021).

    Of each convolution the first ceil(s outputs) filters, with the first ceil(s inputs) kernels of each, are the fit
    hypothesis: a slim network inside the dense one. The stem keeps all inputs, the linear layer all classes. In a
    network that is no ResNet it need not be one: a ViT's `in_proj_weight` has queries, keys and values one above the
    other. Else as `ke_wels`, with its departures.
    """

    def masks(network: NetworkView) -> Values:
        from seal.masks import of_filters

        stem, classifier = next(iter(network.weights)), network.classifier
        split = {}
        for name, value in network.weights.items():
            split[name] = of_filters(
                value.shape, options.split_rate, all_outputs=name == classifier, all_inputs=name == stem
            )
        return split

    return _evolution(course, masks)


def _evolution(course: Course, masks: Callable[[NetworkView], Values]) -> Method:
    """What a mask leaves out is drawn anew as each later generation begins."""

    def forget(clock: Clock, network: NetworkView) -> Values:
        if not clock.begins_later_generation:
            return {}

        split = {name: mask for name, mask in masks(network).items() if not mask.all()}
        evolved = {}
        for name, drawn in network.drawn(split).items():
            fit = network.weights[name].detach()
            evolved[name] = fit.where(split[name].to(fit.device), drawn.to(fit.device))
        return evolved

    return Method(descending(course), forget, looks_back=True)


@dataclass(frozen=True)
class ShrinkPerturb:
    kept_scale: Share  # lambda
    noise_scale: Scale  # of a new draw


def shrink_perturb(course: Course, options: ShrinkPerturb) -> Method:
    """Shrink and perturb (Ash and Adams 2020): theta <- lambda theta + noise as a later generation begins.

    Of every parameter; BatchNorm's statistics are kept. Departures: the source starts anew as data arrive, here it is
    the same data; and the noise is a share of a new draw by the run's `reinitialiser`.
    """

    def forget(clock: Clock, network: NetworkView) -> Values:
        if not clock.begins_later_generation:
            return {}

        now = network.sides.early | network.sides.late
        drawn = network.drawn(now)
        perturbed = {}
        for name, value in now.items():
            noise = options.noise_scale * drawn[name].to(value.device)
            perturbed[name] = options.kept_scale * value.detach() + noise
        return perturbed

    return Method(descending(course), forget, looks_back=True)


METHODS: dict[str, Callable[[Course, Any], Method]] = {
    "ke_wels": ke_wels,
    "ke_kels": ke_kels,
    "shrink_perturb": shrink_perturb,
}
