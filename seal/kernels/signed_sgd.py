"""The signed step: one update in which some groups of tensors climb while the others descend."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from torch import Tensor, device

Triple = tuple[Tensor, Tensor, Tensor | None]
BACKENDS = ("reference", "cpu", "compiled", "triton")


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters, gradients and momentum buffers, in one order, and their numbers; no buffers where momentum is 0."""

    params: list[Tensor]
    grads: list[Tensor]
    buffers: list[Tensor]
    lr: float | Tensor
    momentum: float
    weight_decay: float
    maximize: bool

    def triples(self) -> Iterator[Triple]:
        return zip(self.params, self.grads, self.buffers or repeat(None), strict=False)


# Every version: the groups, then `grad_scale` (gradients are divided by it, in place) and `found_inf` (not 0: no step).
Step = Callable[[Sequence[Group], Tensor | None, Tensor | None], None]


@dataclass(frozen=True)
class Kernel:
    """A version of the step, ready to run; `refresh` mirrors the groups' numbers to where it reads them."""

    step: Step
    refresh: Callable[[Sequence[Group]], None] = lambda groups: None


def reference(groups: Sequence[Group], grad_scale: Tensor | None, found_inf: Tensor | None) -> None:
    """The signed step in eager torch, in place; bit-equal to `torch.optim.SGD(foreach=False)`.

    d <- s*g + wd*p        m <- mu*m + d        p <- p - lr*m        s = -1 where the group ascends, +1 else
    """
    if found_inf is not None and found_inf.item():
        return
    for group in groups:
        for p, g, m in group.triples():
            if grad_scale is not None:
                g.div_(grad_scale)
            s_g = -g if group.maximize else g
            d = s_g.add(p, alpha=group.weight_decay) if group.weight_decay else s_g
            m = d if m is None else m.mul_(group.momentum).add_(d)
            p.sub_(m, alpha=float(group.lr))


def load(backend: str, on: device) -> Kernel:
    """The version of that name for tensors on that device. Raises RuntimeError where it can't run."""
    if backend in ("cpu", "compiled") and on.type != "cpu":
        raise RuntimeError(f"backend {backend!r} can't step parameters on {on}: use 'triton', 'reference' or 'auto'")
    match backend:
        case "cpu":
            from seal.kernels.signed_sgd_cpu import signed_sgd_cpu

            return Kernel(signed_sgd_cpu)
        case "compiled":
            from seal.kernels.signed_sgd_compiled import SignedSGDCompiled

            return Kernel(SignedSGDCompiled())
        case "triton":
            from seal.kernels.signed_sgd_triton import SignedSGDTriton

            fused = SignedSGDTriton(on)
            return Kernel(fused, fused.refresh)
    return Kernel(reference)
