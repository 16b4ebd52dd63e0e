"""The stage `python -m eval.transfer --run ARM-SEED --target DATASET`: Table 1, a linear layer on the frozen network.

The features are those of the packed images, not augmented. The paper reports the highest test accuracy over learning
rates. Beside it stands that of the rate which is best on validation images: the target's own or, where it has none,
`val_share` of each class's training images, drawn. Then the rate is chosen on a fit without them, and the test accuracy
is that of the fit on all training images.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eval.episodes import drawn_share
from eval.evaluation import Evaluation, Skipped, evaluation_stage
from eval.features import plain_batches, pooled_features
from eval.linear_probe import Probes, draw_layer, train_probes
from seal.errors import UserError
from seal.evaluations import Transfer
from seal.models import ResNet
from seal.rng import stream

Split = tuple[Tensor, Tensor]  # features [N, D], labels [N]


def split_features(stage: Evaluation, model: ResNet, split: str) -> Split:
    part, training = stage.pack[split], stage.params.training
    if not len(part.images):
        return torch.empty(0, model.fc.in_features, device=stage.device), part.labels.to(stage.device)
    batches = plain_batches(
        part.images, part.labels, batch_size=stage.params.transfer.feature_batch_size, mean=training.mean,
        std=training.std, device=stage.device,
    )  # fmt: skip
    return pooled_features(model, batches)


def probes_of(
    protocol: Transfer, classes: int, train: Split, val: Split, test: Split, after_epoch: Callable[[], object]
) -> tuple[Probes, Probes]:
    """The learning rates' layers on validation and on test images.

    Raises UserError where `val_share` of no class is an image.
    """
    fit = partial(
        train_probes, layer=draw_layer(protocol.seed, train[0].shape[1], classes), rates=protocol.learning_rates,
        epochs=protocol.epochs, batch_size=protocol.batch_size, momentum=protocol.momentum,
        weight_decay=protocol.weight_decay, seed=protocol.seed, after_epoch=after_epoch,
    )  # fmt: skip
    if len(val[0]):
        _, (on_val, on_test) = fit(*train, others=[val, test])
        return on_val, on_test
    held_out = drawn_share(train[1].cpu(), protocol.val_share, stream(protocol.seed, "validation images"))
    held_out = held_out.to(train[1].device)
    if not held_out.any():
        raise UserError(
            f"transfer.val_share: found {protocol.val_share:g}, which leaves no validation image of {len(held_out)}; "
            "expected a share that does"
        )
    _, (on_val,) = fit(train[0][~held_out], train[1][~held_out], others=[(train[0][held_out], train[1][held_out])])
    _, (on_test,) = fit(*train, others=[test])
    return on_val, on_test


def values_of(rates: Sequence[float], on_val: Probes, on_test: Probes) -> tuple[dict[str, Any], int, int]:
    """The JSON's values, and the positions of the rates that the paper's rule and the validation rule choose.

    Accuracies after the last epoch decide; of equal ones the first rate is taken.
    """
    test, val = on_test.accuracy.tolist(), on_val.accuracy.tolist()
    each = {
        f"{rate:g}": {
            "last": test[-1][index],
            "best": max(row[index] for row in test),
            "val_last": val[-1][index],
            "val_best": max(row[index] for row in val),
        }
        for index, rate in enumerate(rates)
    }
    paper, validation = test[-1].index(max(test[-1])), val[-1].index(max(val[-1]))
    values = {
        "rates": each,
        "paper": {"rate": rates[paper], "accuracy": test[-1][paper]},
        "validation": {"rate": rates[validation], "accuracy": test[-1][validation]},
    }
    return values, paper, validation


def main(arguments: Sequence[str] | None = None) -> None:
    with evaluation_stage("transfer", target=True, arguments=arguments) as stage:
        protocol, pack = stage.params.transfer, stage.pack
        if empty := [split for split in ("train", "test") if not len(pack[split].labels)]:
            raise Skipped(f"{pack.name} has no {empty[0]} images, expected some to fit or test a linear layer")
        fits = 1 if len(pack["val"].labels) else 2
        stage.timing.unit, stage.timing.backend = "epochs", "rates batched"
        for network in stage.networks(protocol.generations):
            train, val, test = (split_features(stage, network.model, split) for split in ("train", "val", "test"))
            task = stage.bar.add_task(f"generation {network.generation}, epochs", total=fits * protocol.epochs)
            on_val, on_test = probes_of(protocol, len(pack.classes), train, val, test, partial(stage.bar.advance, task))
            values, paper, validation = values_of(protocol.learning_rates, on_val, on_test)
            correct = on_test.correct.cpu().numpy().astype("uint8")
            stage.write(
                network,
                protocol.model_dump(mode="json"),
                values | {"test_images": len(correct), "classes": len(pack.classes)},
                {"correct_paper": correct[:, paper], "correct_validation": correct[:, validation]},
            )
            stage.timing.done += fits * protocol.epochs


if __name__ == "__main__":
    main()
