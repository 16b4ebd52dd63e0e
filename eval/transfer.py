"""The stage `python -m eval.transfer --run ARM-SEED --target DATASET`: Table 1, a linear layer on the frozen network.

The features are those of the packed images, not augmented. The paper reports the highest test accuracy over learning
rates. Beside it stands that of the rate which is best on validation images: the target's own or, where it has none,
`val_share` of each class's training images, drawn. Then the rate is chosen on a fit without them, and the test accuracy
is that of the fit on all training images.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from eval.episodes import drawn_share
from eval.evaluation import EvaluationStage, Findings, Skipped, evaluation_stage
from eval.features import Classifier, plain_batches, pooled_features
from eval.linear_probe import ProbeScores, draw_layer, train_probes
from eval.networks import TrainedNetwork
from seal.errors import UserError
from seal.rng import stream

if TYPE_CHECKING:
    from seal.evaluations import Transfer

Labelled = tuple[Tensor, Tensor]  # features [N, D], labels [N]


def evaluate(stage: EvaluationStage, network: TrainedNetwork, section: "Transfer") -> Findings:
    train, val, test = (split_features(stage, network.model, split) for split in ("train", "val", "test"))
    classes = len(stage.pack.classes)
    epochs = section.epochs * (1 if len(val[1]) else 2)
    task = stage.bar.add_task(f"generation {network.generation}, epochs", total=epochs)

    on_val, on_test = probes_of(section, classes, train, val, test, partial(stage.bar.advance, task))
    values, paper, validation = values_of(section.learning_rates, on_val, on_test)

    correct = on_test.correct.cpu().numpy().astype("uint8")
    return Findings(
        values | {"test_images": len(correct), "classes": classes},
        {"correct_paper": correct[:, paper], "correct_validation": correct[:, validation]},
        params=section.model_dump(mode="json"),
        work=epochs,
    )


def split_features(stage: EvaluationStage, model: Classifier, split: str) -> Labelled:
    part, training = stage.pack[split], stage.run.training
    if not len(part.images):
        return torch.empty(0, model.fc.in_features, device=stage.device), part.labels.to(stage.device)

    batches = plain_batches(
        part.images, part.labels, batch_size=stage.params.transfer.feature_batch_size, mean=training.mean,
        std=training.std, device=stage.device,
    )  # fmt: skip
    return pooled_features(model, batches, stage.params.transfer.precision)


def probes_of(
    section: "Transfer", classes: int, train: Labelled, val: Labelled, test: Labelled,
    after_epoch: Callable[[], object],
) -> tuple[ProbeScores, ProbeScores]:  # fmt: skip
    """The learning rates' layers on validation and on test images.

    Raises UserError where `val_share` holds out no image, or all of them.
    """
    x, y = train
    fit = partial(
        train_probes, layer=draw_layer(section.seed, x.shape[1], classes), rates=section.learning_rates,
        epochs=section.epochs, batch_size=section.batch_size, momentum=section.momentum,
        weight_decay=section.weight_decay, seed=section.seed, after_epoch=after_epoch,
    )  # fmt: skip
    if len(val[0]):
        _, (on_val, on_test) = fit(x, y, others=[val, test])
        return on_val, on_test

    held_out = drawn_share(y.cpu(), section.val_share, stream(section.seed, "validation images")).to(y.device)
    if held_out.all() or not held_out.any():
        raise UserError(
            f"transfer.val_share: found {section.val_share:g}, which takes {int(held_out.sum())} of {len(held_out)} "
            "images for validation; expected a share that takes some of them"
        )
    _, (on_val,) = fit(x[~held_out], y[~held_out], others=[(x[held_out], y[held_out])])
    _, (on_test,) = fit(x, y, others=[test])
    return on_val, on_test


def values_of(rates: Sequence[float], on_val: ProbeScores, on_test: ProbeScores) -> tuple[dict[str, Any], int, int]:
    """The JSON's values, and the positions of the rates that the paper's rule and the validation rule choose.

    Accuracies after the last epoch decide; of equal ones the first rate is taken.
    """
    val, test = on_val.accuracy.tolist(), on_test.accuracy.tolist()  # of each epoch and rate
    best_val, best_test = on_val.accuracy.amax(0).tolist(), on_test.accuracy.amax(0).tolist()
    by_rate = {}
    for at, rate in enumerate(rates):
        by_rate[f"{rate:g}"] = {
            "last": test[-1][at], "best": best_test[at], "val_last": val[-1][at], "val_best": best_val[at],
        }  # fmt: skip

    paper, validation = test[-1].index(max(test[-1])), val[-1].index(max(val[-1]))
    values = {
        "rates": by_rate,
        "paper": {"rate": rates[paper], "accuracy": test[-1][paper]},
        "validation": {"rate": rates[validation], "accuracy": test[-1][validation]},
    }
    return values, paper, validation


def look(stage: EvaluationStage) -> None:
    section = stage.params.transfer
    stage.timing.unit, stage.timing.backend = "epochs", "rates batched"
    for split in ("train", "test"):
        if not len(stage.pack[split].labels):
            raise Skipped(f"{stage.pack.name} has no {split} images, expected some to fit or test a linear layer")

    for network in stage.networks(section.generations):
        stage.write(network, evaluate(stage, network, section))


def main(arguments: Sequence[str] | None = None) -> None:
    with evaluation_stage("transfer", arguments) as stage:
        look(stage)


if __name__ == "__main__":
    main()
