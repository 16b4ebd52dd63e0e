"""Heads and BatchNorm scales and shifts of many few-shot episodes, trained at once on shared convolutions.

A batch is one large batch [batch_size * episodes], an image of each episode after the other. The convolutions see it
as such. At a BatchNorm its contiguous memory is also a batch of batch_size images with episodes * C channels, of which
each has its own scale, shift and statistics: so torch's own BatchNorm, one fused operator, normalises every episode
apart, without a copy.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import batch_norm, cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from eval.features import Classifier, outputs_of

if TYPE_CHECKING:
    from seal.evaluations import FewShotAffines

Network = TypeVar("Network", bound=nn.Module)
Pixels = Callable[[Tensor], Tensor]  # positions of images [N] -> float [N, 3, H, W]


class EpisodeNorm(nn.Module):
    """A BatchNorm for each episode, started from a trained one; in training by batch statistics, or by fixed ones."""

    def __init__(self, norm: nn.BatchNorm2d, episodes: int, batch_statistics: bool) -> None:
        super().__init__()
        self.batch_statistics, self.eps, self.momentum = batch_statistics, norm.eps, norm.momentum or 0.0
        self.scale = nn.Parameter(norm.weight.detach().repeat(episodes))  # [episodes * C]
        self.shift = nn.Parameter(norm.bias.detach().repeat(episodes))
        self.mean: Tensor
        self.var: Tensor
        self.register_buffer("mean", norm.running_mean.repeat(episodes))  # type: ignore[union-attr]
        self.register_buffer("var", norm.running_var.repeat(episodes))  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        wide = x.reshape(-1, len(self.scale), *x.shape[2:])
        own = self.training and self.batch_statistics
        out = batch_norm(wide, self.mean, self.var, self.scale, self.shift, own, self.momentum, self.eps)
        # Not `view`: the blocks go on in place, and in place on a view autograd copies every gradient twice.
        own_memory: Tensor = torch.ops.aten._unsafe_view(out, x.shape)
        return own_memory


def packed(model: Network, episodes: int, batch_statistics: bool) -> Network:
    """A copy of the network in which each BatchNorm is an EpisodeNorm; these alone have gradients."""
    copy = deepcopy(model).requires_grad_(False)
    for name, norm in model.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            owner, _, kind = name.rpartition(".")
            setattr(copy.get_submodule(owner), kind, EpisodeNorm(norm, episodes, batch_statistics))
    return copy


@dataclass(frozen=True)
class Tuned:
    """Networks that share their convolutions, and their heads."""

    model: Classifier  # packed
    heads: Tensor  # [E, n_way, features + 1], the last column the bias

    @torch.no_grad()
    def accuracy(self, pixels: Pixels, query: Tensor, labels: Tensor, batch_size: int) -> Tensor:
        """Share of each episode's query images [E, Q] that are labelled rightly; float64 [E]."""
        self.model.eval()
        right = []
        for images, truth in zip(torch.split(query, batch_size, 1), torch.split(labels, batch_size), strict=True):
            logits = _logits(self.model, self.heads, pixels(images.T.flatten()))
            right.append(logits.argmax(2) == truth)
        return torch.cat(right, 1).double().mean(1)


def _logits(model: Classifier, heads: Tensor, x: Tensor) -> Tensor:
    """[E, B, n_way] of images [B * E, 3, H, W], an image of each episode after the other."""
    features = model.features(x).view(-1, len(heads), heads.shape[2] - 1).transpose(0, 1)
    return torch.baddbmm(heads[:, None, :, -1], features, heads[:, :, :-1].mT)


def tune(
    model: Classifier, pixels: Pixels, support: Tensor, labels: Tensor, heads: Tensor, orders: Iterable[Tensor],
    protocol: "FewShotAffines", after_epoch: Callable[[], object] = lambda: None,
) -> Tuned:  # fmt: skip
    """Train a head, scales and shifts for each episode on its support images [E, S], labelled `labels` [S].

    `heads` [E, n_way, features + 1] and the network are not changed; `orders` int64 [E, S] for each epoch. The head
    goes by SGD with momentum, dampening and weight decay, scales and shifts by plain SGD, by gradients of one loss.
    """
    trained = Tuned(packed(model, len(support), protocol.statistics == "benchmark"), heads.clone().requires_grad_())
    of_heads = torch.optim.SGD(
        [trained.heads], protocol.learning_rate, protocol.momentum, protocol.dampening, protocol.weight_decay
    )
    of_affines = torch.optim.SGD(episode_parameters(trained.model), protocol.affine_learning_rate)

    trained.model.train()
    for order in orders:
        for batch in torch.split(order.to(support.device), protocol.batch_size, dim=1):
            step(trained, [of_heads, of_affines], pixels(support.gather(1, batch).T.flatten()), labels[batch])
        after_epoch()
    return trained


def episode_parameters(model: Classifier) -> list[nn.Parameter]:
    """Scales and shifts of a packed network: what alone has gradients."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def step(trained: Tuned, optimizers: Iterable[torch.optim.Optimizer], x: Tensor, y: Tensor) -> None:
    logits = _logits(trained.model, trained.heads, x)
    # The sum over episodes of each one's mean: no episode's gradient has to do with another's loss.
    loss = cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


@torch.no_grad()
def refuse_other_networks(model: nn.Module, images: Tensor) -> None:
    """Raises ValueError unless there are scales and shifts to train, and all else is in training as in evaluation.

    `images` float [N, 3, H, W], two or more.
    """
    norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    if not norms:
        raise ValueError("trains BatchNorm's scales and shifts, of which the network has none")

    for name, norm in norms.items():
        whole = norm.affine and norm.track_running_stats and norm.momentum is not None
        if not (isinstance(norm, nn.BatchNorm2d) and whole):
            raise ValueError(
                f"found {name}, a {norm}, expected of each BatchNorm one of images (BatchNorm2d), with scale, shift, "
                "running statistics and a momentum"
            )

    frozen = packed(model, 1, batch_statistics=False)
    training, evaluated = frozen.train()(images), frozen.eval()(images)
    if (training - evaluated).abs().max() > 1e-3 * evaluated.abs().max():
        raise ValueError(
            "found a network that does in training what it does not in evaluation, as dropout does, expected one in "
            "which BatchNorm alone does"
        )


@torch.no_grad()
def refuse_single_values(model: Classifier, image: Tensor, sizes: Iterable[int], batch_size: int) -> None:
    """Raises ValueError where a batch of one image would meet a 1x1 map: its batch statistics are the value itself.

    `image` float [1, 3, H, W]; `sizes` are numbers of support images.
    """
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    with outputs_of(model, norms) as maps:
        model.features(image)
    single = any(output.shape[2:].numel() == 1 for output in maps.values())
    for size in sizes:
        if single and (batch_size == 1 or size % batch_size == 1):
            raise ValueError(
                f"found feature maps of 1x1 and {size} support images, the last batch of {batch_size} being one image; "
                "expected larger images, another batch_size, or statistics: frozen"
            )


def bytes_per_episode(model: Classifier, images: Tensor, n_way: int, batch_statistics: bool) -> int:
    """Memory that one more episode takes in `tune`: what a step on float images [batch_size, 3, H, W] keeps.

    That is what the backward pass needs, three copies of the largest map that a step makes on its way, the images twice
    (as read, and as numbers), and the episode's own parameters, gradients and statistics or momentum.
    """
    network = packed(model, 1, batch_statistics).train()
    shared = {tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in shared:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(count, lambda tensor: tensor):
        features = network.features(images)

    own_parameters = sum(parameter.nbytes for parameter in episode_parameters(network))
    head = n_way * (features.shape[1] + 1) * features.element_size()
    return sum(kept.values()) + 3 * max(kept.values()) + 2 * images.nbytes + 3 * (own_parameters + head)
