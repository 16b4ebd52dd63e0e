"""An epoch under each rule: what moves, what does not, and what is measured."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from seal.batchnorm import batch_statistics
from seal.checkpoint import State
from seal.clock import Clock
from seal.loop import end_epoch, end_generation
from seal.methods import METHODS
from seal.resume import shares_generation_1
from seal.rng import stream
from seal.rows import measure_clean
from seal.sections import Run
from seal.trainer import Diverged, Trainer
from tests.small import BATCHES, CPU, Interrupt, small_data, small_run, train_small

ARMS = [
    *((method, {}) for method in METHODS),
    ("normal_long", {"schedule": "one_cosine"}),
    ("seal", {"ascent_lr_scale": 0.0}),
]


def at_generation_2(run: Run) -> tuple[Trainer, dict[str, torch.Tensor]]:
    """A trainer as generation 2 begins, and its weights and statistics then."""
    trainer = Trainer(run, small_data(run), CPU)
    trainer.begin_epoch(Clock(2, 0))
    return trainer, {name: value.clone() for name, value in trainer.model.state_dict().items()}


def moved(trainer: Trainer, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])}


def test_methods_with_one_seed_see_the_same_batches_and_seeds_differ() -> None:
    def batches(method: str, seed: int, **changes: object) -> list[str]:
        run = small_run(method, seed, **changes)
        trainer = Trainer(run, small_data(run), CPU)
        seen: list[str] = []

        def look(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
            if torch.is_grad_enabled():
                seen.append(hashlib.sha256(inputs[0].contiguous().numpy().tobytes()).hexdigest())

        trainer.model.register_forward_pre_hook(look)
        for clock in trainer.course.clocks():
            trainer.begin_epoch(clock)
            trainer.train_epoch(clock, Interrupt())
        assert len(seen) == 2 * 3 * BATCHES
        assert len(set(seen)) == len(seen), "no batch comes twice"
        return seen

    reference = batches("normal_long", 0)
    for method, changes in ARMS[1:]:
        assert batches(method, 0, **changes) == reference
    assert not set(batches("seal", 1)) & set(reference)


def test_a_frozen_side_is_not_stepped_and_its_statistics_move() -> None:
    trainer, before = at_generation_2(small_run("seal_freeze"))
    trainer.train_epoch(Clock(2, 0), Interrupt())
    late = [name for name in moved(trainer, before) if name.startswith(("layer3", "layer4", "fc"))]
    assert late
    assert all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in late)
    assert "conv1.weight" in moved(trainer, before)
    trainer.begin_epoch(Clock(2, 1))
    trainer.train_epoch(Clock(2, 1), Interrupt())
    assert "fc.weight" in moved(trainer, before)


def test_held_statistics_of_a_frozen_side_do_not_move() -> None:
    trainer, before = at_generation_2(small_run("seal_freeze", frozen_statistics="hold"))
    trainer.train_epoch(Clock(2, 0), Interrupt())
    assert not [name for name in moved(trainer, before) if name.startswith(("layer3", "layer4", "fc"))]


def test_with_s_zero_the_early_weights_stand_still_in_the_ascent() -> None:
    trainer, before = at_generation_2(small_run("seal", ascent_lr_scale=0.0))
    trainer.train_epoch(Clock(2, 0), Interrupt())
    parameters = set(dict(trainer.model.named_parameters()))
    assert {name for name in moved(trainer, before) & parameters if name in trainer.sides.early} == set()
    assert set(trainer.sides.late) <= moved(trainer, before)


@pytest.mark.parametrize("method", ["llf", "seal"])
def test_the_linear_layer_alone_may_be_the_late_side(method: str) -> None:
    run = small_run(method, layer_threshold="fc")
    trainer, before = at_generation_2(run)
    trainer.train_epoch(Clock(2, 0), Interrupt())
    assert trainer.parts["late"] == {}
    assert set(dict(trainer.model.named_parameters())) <= moved(trainer, before)
    base = small_run("normal_long", num_generations=1)
    assert shares_generation_1(run, base, trainer), "generation 1 knows no sides"


def test_an_epochs_loss_is_the_mean_over_images_not_over_batches() -> None:
    run = small_run()
    trainer = Trainer(run, small_data(run), CPU)
    trainer.begin_epoch(Clock(1, 0))
    batches: list[tuple[int, float]] = []
    row = trainer.train_epoch(Clock(1, 0), lambda clock, size, loss, correct: batches.append((size, float(loss))))
    sizes = [size for size, _ in batches]
    assert len(set(sizes)) > 1, "else both means are one"
    assert row["train_loss"] == pytest.approx(sum(size * loss for size, loss in batches) / sum(sizes), rel=1e-6)


def test_what_is_drawn_anew_is_another_draw_in_each_generation() -> None:
    run = small_run("llf", num_generations=3)
    trainer = Trainer(run, small_data(run), CPU)
    clocks_of_both = (Clock(2, 0), Clock(3, 0))
    second, third = (trainer.method.forget(clock, trainer.view(clock, State())) for clock in clocks_of_both)
    assert [*second] == [*third]
    assert not any(torch.equal(second[name], third[name]) for name in second)


def test_of_epochs_that_are_equally_good_the_first_is_the_best() -> None:
    run = small_run("normal_long")
    trainer, state = Trainer(run, small_data(run), CPU), State()
    for epoch, accuracy in enumerate([0.2, 0.5, 0.5, 0.4]):
        row = {"generation": 1, "epoch": epoch, "global_epoch": epoch, "val_accuracy": accuracy}
        end_epoch(trainer, state, Clock(1, epoch), row)
    assert state.best_epoch == {"generation": 1, "epoch": 1, "val_accuracy": 0.5}


def test_momentum_is_cleared_at_the_edges_of_a_phase_alone() -> None:
    def cleared(method: str, **changes: object) -> list[Clock]:
        run = small_run(method, **changes)
        trainer = Trainer(run, small_data(run), CPU)
        found = []
        for clock in trainer.course.clocks():
            trainer.begin_epoch(clock)
            buffers = [state["momentum_buffer"] for state in trainer.optimizer.state.values()]
            if buffers and not any(buffer.any() for buffer in buffers):
                found.append(clock)
            trainer.train_epoch(clock, Interrupt())
        return found

    assert cleared("seal") == [Clock(2, 0), Clock(2, 1)]
    assert cleared("normal_long") == cleared("llf") == [Clock(2, 0)], "the rate restarts"
    assert cleared("normal_long", schedule="one_cosine") == []
    assert cleared("llf", schedule="one_cosine") == [Clock(2, 0)], "weights were drawn anew"
    assert cleared("seal", reset_momentum=False) == []
    always = cleared("seal", schedule="one_cosine", ascent_epochs=3, num_generations=3)
    assert always == [Clock(2, 0), Clock(3, 0)], "an ascent is its generation's, and begins anew with each"


def test_batch_statistics_leave_the_running_ones_alone() -> None:
    run = small_run()
    trainer = Trainer(run, small_data(run), CPU)
    trainer.begin_epoch(Clock(1, 0))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    with batch_statistics(trainer.model):
        by_batch, _ = trainer.objective.measure(trainer.model, trainer.data.clean.clean())
    assert moved(trainer, before) == set()
    # An untrained network's running statistics are 0 and 1: BatchNorm by them is not BatchNorm by the batch.
    trainer.model.eval()
    by_running, _ = trainer.objective.measure(trainer.model, trainer.data.clean.clean())
    assert by_batch != pytest.approx(by_running, rel=1e-3)


@pytest.mark.parametrize("noise", [nn.Dropout(0.5), StochasticDepth(0.5, "row")], ids=["dropout", "depth"])
def test_by_batch_statistics_no_dropout_draws(noise: nn.Module) -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), noise, nn.BatchNorm1d(3, affine=False))
    x = torch.randn(8, 3, generator=stream(0, "x")) + 2
    once = nn.functional.batch_norm(x, None, None, training=True)
    torch.manual_seed(0)
    with batch_statistics(network):
        y = network(x)
    torch.testing.assert_close(y, nn.functional.batch_norm(once, None, None, training=True))
    assert all(module.training for module in network.modules())
    assert torch.equal(network.get_buffer("0.running_mean"), torch.zeros(3))


def test_clean_measures_are_those_of_the_whole_training_set() -> None:
    run = small_run()
    trainer = Trainer(run, small_data(run), CPU)
    row = measure_clean(trainer, Clock(1, 0))
    trainer.model.eval()
    images = torch.cat([x for x, _ in trainer.data.clean.clean()])
    labels = torch.cat([y for _, y in trainer.data.clean.clean()])
    with torch.no_grad():
        logits = trainer.model(images)
    loss = nn.functional.cross_entropy(logits, labels, label_smoothing=run.training.label_smoothing)
    assert row["clean_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert row["clean_accuracy"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))


def test_a_loss_that_is_not_finite_says_where() -> None:
    run = small_run("seal")
    run = run.model_copy(update={"training": run.training.model_copy(update={"learning_rate": 1e30})})
    trainer = Trainer(run, small_data(run), CPU)
    trainer.begin_epoch(Clock(1, 0))
    with pytest.raises(Diverged, match=r"not finite in generation 1, epoch 0, batch [1-3]") as caught:
        trainer.train_epoch(Clock(1, 0), Interrupt())
    assert caught.value.place["generation"] == 1


@pytest.mark.parametrize("spoilt", [None, "model", "best"])
def test_a_generation_ends_well_where_the_last_weights_and_the_best_are_finite(
    tmp_path: Path, spoilt: str | None
) -> None:
    """An infinite variance normalises to 0, and all losses stay finite."""
    run = small_run("seal", checkpoint="best")
    trainer, state, clock = Trainer(run, small_data(run), CPU), State(), Clock(1, 2)
    row = {"generation": 1, "epoch": 2, "global_epoch": 2, "val_accuracy": 0.5}
    end_epoch(trainer, state, clock, row)
    state.best = state.copied()
    if spoilt is not None:
        getattr(state, spoilt)["layer3.0.bn1.running_var"].fill_(torch.inf)
    assert end_generation(trainer, state, tmp_path) == (spoilt is None)
    assert len(state.generations) == len([*tmp_path.glob("weights/*")]) == (spoilt is None)


@pytest.mark.parametrize("method", METHODS)
def test_a_training_step_leaves_no_tensor_behind_on_the_cpu(method: str) -> None:
    # The meta device refuses any operation with a tensor of another device: placement is tested without a GPU.
    run, state = small_run(method), State()
    meta = torch.device("meta")
    trainer = Trainer(run, small_data(run, meta), meta)
    for clock in (Clock(1, 0), Clock(2, 0)):
        trainer.begin_epoch(clock, state)
        x, y = next(trainer.data.train.epoch(stream(0, "order"), stream(0, "augmentation")))
        loss, hits = trainer.step(x, y)
        assert loss.device == hits.device == meta
        state.take(trainer.model, trainer.optimizer, trainer.names)
        state.previous = state.copied()
    stepped = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    assert stepped
    assert all(parameter.grad is not None and parameter.grad.device == meta for parameter in stepped)
    assert all(mask.device == meta for mask in trainer.masks.alive.values())


@pytest.mark.parametrize("changes", [{"precision": "bfloat16"}, {"channels_last": True}], ids=str)
def test_precision_and_layout_train_too(tmp_path: Path, changes: dict[str, object]) -> None:
    trainer = train_small(small_run("seal", **changes), tmp_path)
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    weight = trainer.model.get_submodule("layer1.0.conv1").weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == ("channels_last" in changes)
