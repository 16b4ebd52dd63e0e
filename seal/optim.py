"""SignedSGD: SGD in which each group of parameters climbs or descends, with torch SGD's group keys and state layout.

The trainer's optimizer, and one for training loops elsewhere. It knows groups, state and what may be stepped; how a
step is computed is `kernels`' to know.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.util import find_spec
from itertools import chain
from typing import Any, overload

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.optim.optimizer import ParamsT, StateDict
from torch.optim.sgd import SGD

from seal.kernels.backends import BACKENDS, Kernel, load
from seal.kernels.checks import check_gradients, check_group, check_parameter, no_parameter_twice
from seal.kernels.memory import places, share_no_memory
from seal.kernels.signed_sgd import Group


class SignedSGD(SGD):
    """torch's SGD with momentum, whose groups ascend (`maximize`) or descend in one fused step.

        d <- s*g + wd*p        m <- mu*m + d        p <- p - lr*m        s = -1 where the group ascends, +1 else

    lr is a float or a tensor of one element. Parameters are float32 or float64 of any strides, all on one device;
    half precision is refused: a step of 1e-6 does not move a bfloat16 weight near 1, so ascent would do nothing.
    A phase changes numbers in a group, and may set a negative weight decay there. `grad_scale` and `found_inf`, which
    `torch.amp.GradScaler` sets, are taken as torch's fused SGD takes them: gradients are unscaled in place.

    `backend`: `reference`, `cpu` (torch's fused kernel), `triton` (needs a GPU), or `auto`: `triton` on a GPU that has
    it, `cpu` on a CPU, `reference` elsewhere. From the first `step` or `refresh` on the attribute `backend` names the
    one that runs.

    Raises ValueError or TypeError for parameters, gradients and groups that it can't step, before it changes anything;
    RuntimeError for a backend that can't run here.
    """

    _step_supports_amp_scaling = True
    _kernel: Kernel | None = None
    _stepped: list[Any] | None = None  # the places of the last step

    def __init__(
        self, params: ParamsT, lr: float | Tensor, momentum: float = 0.0, weight_decay: float = 0.0,
        *, maximize: bool = False, backend: str = "auto",
    ) -> None:  # fmt: skip
        if backend not in ("auto", *BACKENDS):
            raise ValueError(f"backend {backend!r}, expected auto, {', '.join(BACKENDS)}")
        self.backend = backend
        super().__init__(params, lr, momentum, weight_decay=weight_decay, maximize=maximize)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @_disable_dynamo
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient. Returns the closure's loss. Never compiled: it walks memory."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()

        kernel = self._load()
        if self._steps_again(kernel):
            return loss

        groups = [self._gather(group) for group in self.param_groups]
        for group in groups:  # all of them before anything changes
            check_gradients(group, self._device)

        for group in groups:
            self._fill_buffers(group)
        kernel.step(groups, self._scalar("grad_scale"), self._scalar("found_inf"))
        if kernel.again is not None:
            self._stepped = places(self.param_groups, self.state)
        return loss

    @torch.no_grad()
    def refresh(self) -> None:
        """Mirror the groups' numbers to the device: call it after changing a group that a captured CUDA graph steps.

        They keep their place in memory. Outside a graph `step` mirrors them itself.
        """
        self._load().refresh([self._numbers(group) for group in self.param_groups])

    def capturing(self) -> AbstractContextManager[None]:
        """The block captures a step in a CUDA graph, in whose memory the gradients may lie: one step went before it.

        Without it the gradients must stay where that step found them: `zero_grad(set_to_none=False)`.
        """
        return self._load().capturing()

    @torch.no_grad()
    def fill_buffers(self) -> None:
        """Make the momentum of what is trained, as its first step would: a snapshot then has it."""
        for group in self.param_groups:
            for p in group["params"]:
                if group["momentum"] and p.requires_grad and self.state[p].get("momentum_buffer") is None:
                    self.state[p]["momentum_buffer"] = _first_buffer(p)

    @torch.no_grad()
    def reset_momentum(self) -> None:
        """Zero the momentum buffers in place, with -0.0: the next step is a first step, to the bit."""
        for p in self._parameters():
            m = self.state[p].get("momentum_buffer")
            if m is not None:
                m.fill_(-0.0)

    @torch.no_grad()
    def turn_momentum(self) -> None:
        """Turn the momentum buffers round in place, so that the next step goes the other way with them."""
        for p in self._parameters():
            m = self.state[p].get("momentum_buffer")
            if m is not None:
                m.neg_()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        param_group = no_parameter_twice(param_group)
        super().add_param_group(param_group)
        try:
            check_group(self.param_groups[-1])
            for p in self.param_groups[-1]["params"]:
                check_parameter(p)
            share_no_memory([*self._parameters()])
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise

    def load_state_dict(self, state_dict: StateDict) -> None:
        for group in state_dict["param_groups"]:
            check_group(group)

        keys = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        for p, key in zip(self._parameters(), keys, strict=False):  # torch says where the numbers of parameters differ
            m = state_dict["state"].get(key, {}).get("momentum_buffer")
            if m is not None and m.shape != p.shape:
                raise ValueError(f"a momentum buffer is {tuple(m.shape)}, expected its parameter's {tuple(p.shape)}")

        super().load_state_dict(state_dict)

        # In the parameter's own layout of memory, which torch does not see to: a step walks all three as they lie.
        for p in self._parameters():
            m = self.state[p].get("momentum_buffer")
            if m is not None and m.stride() != p.stride():
                self.state[p]["momentum_buffer"] = torch.empty_like(p, requires_grad=False).copy_(m)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "backend": self.backend}

    def _parameters(self) -> Iterator[Tensor]:
        return chain.from_iterable(group["params"] for group in self.param_groups)

    def _load(self) -> Kernel:
        """The version that steps, chosen once: where the parameters are is known from the first step on."""
        if self._kernel is not None:
            return self._kernel

        devices = {p.device for p in self._parameters()}
        if len(devices) > 1:
            raise ValueError(f"parameters on {', '.join(sorted(map(str, devices)))}, expected one device")
        self._device = devices.pop() if devices else torch.device("cpu")

        if self.backend == "auto":
            by_device = {"cpu": "cpu", "cuda": "triton" if find_spec("triton") else "reference"}
            self.backend = by_device.get(self._device.type, "reference")
        self._kernel = load(self.backend, self._device)
        return self._kernel

    def _steps_again(self, kernel: Kernel) -> bool:
        """Step what the last step has stepped, where nothing but values and numbers has changed since; whether it was.

        A step's host time is otherwise in gathering and checking tensors.
        """
        if kernel.again is None or self._stepped is None or self._stepped != places(self.param_groups, self.state):
            return False

        numbers = [self._numbers(group) for group in self.param_groups]
        return kernel.again(numbers, self._scalar("grad_scale"), self._scalar("found_inf"))

    def _gather(self, group: dict[str, Any]) -> Group:
        """A group as the kernels take it: parameters without a gradient left out, buffers None where none is yet."""
        params, grads, buffers = [], [], []
        for p in group["params"]:
            if p.grad is not None:
                if p.grad.is_neg():  # a view that is to be negated, which kernels that walk memory would not see
                    p.grad = p.grad.resolve_neg()
                params.append(p)
                grads.append(p.grad)
                if group["momentum"]:
                    buffers.append(self.state[p].get("momentum_buffer"))

        return replace(self._numbers(group), params=params, grads=grads, buffers=buffers)

    def _numbers(self, group: dict[str, Any]) -> Group:
        """A group without its tensors."""
        lr = group["lr"].detach() if isinstance(group["lr"], Tensor) else group["lr"]
        momentum, weight_decay = float(group["momentum"]), float(group["weight_decay"])
        return Group([], [], [], lr, momentum, weight_decay, group["maximize"])

    def _fill_buffers(self, group: Group) -> None:
        for i, (p, m) in enumerate(zip(group.params, group.buffers, strict=False)):
            if m is None:
                group.buffers[i] = self.state[p]["momentum_buffer"] = _first_buffer(p)

    def _scalar(self, name: str) -> Tensor | None:
        value: Tensor | None = getattr(self, name, None)
        return None if value is None else value.to(self._device, torch.float32)


def _first_buffer(p: Tensor) -> Tensor:
    # -0.0 is what IEEE addition leaves alone: mu*(-0.0) + d is d to the bit, so a first step needs no flag.
    return torch.full_like(p, -0.0)
