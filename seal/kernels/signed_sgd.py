"""The signed step: one update in which some groups of tensors climb while the others descend.

The reference in eager torch, and the values that it and every fused version take.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from torch import Tensor

Triple = tuple[Tensor, Tensor, Tensor | None]


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
