"""What a method cannot be done to is said before an epoch is trained; what it can be done to is trained."""

import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrizations, prune
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils import weight_norm as old_weight_norm
from torch.optim.lr_scheduler import ReduceLROnPlateau

from seal import Forgetting, SignedSGD, split_parameters
from seal.clock import Clock
from seal.methods import METHODS
from seal.rng import stream
from seal.steps import Teacher
from tests.small import loop_options

DRAWS = ("llf", "seal_reinit", "ke_wels", "ke_kels", "shrink_perturb", "ban", "ban_labels")
BY_WEIGHTS = ("llf", "seal_reinit", "ke_wels", "ke_kels", "imp", "dsd")  # llf of weights alone, as its arm has it
MASKS = ("imp", "dsd")


def network(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, 3))


def begun(method: str, model: nn.Module, threshold: str = "2", **values: Any) -> tuple[Forgetting, SignedSGD]:
    """With groups of the two sides, and the head's apart."""
    head = values.pop("head", "4")
    sides = split_parameters(model, threshold, values.get("example"))
    fc = [value for name, value in sides.late.items() if name.startswith(head)]
    late = [value for value in sides.late.values() if not any(value is other for other in fc)]
    groups = [{"params": parameters} for parameters in (list(sides.early.values()), late, fc)]
    optimizer = values.pop("optimizer", None) or SignedSGD(groups, 0.05, 0.9)
    halved = {"split_rate": 0.5} if method in ("ke_wels", "ke_kels") else {}  # of so few elements
    numbers = loop_options(method) | halved | values.pop("options", {})
    return Forgetting(method, model, optimizer, threshold, generations=3, epochs=2, **values, **numbers), optimizer


def train(forgetting: Forgetting, optimizer: SignedSGD, x: Tensor) -> None:
    for _ in forgetting.epochs():
        optimizer.zero_grad()
        logits = forgetting.model(x)
        forgetting.loss(x, logits, cross_entropy(logits, torch.arange(len(x)) % 3)).backward()
        optimizer.step()


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="eager")


WRAPPED: dict[str, tuple[str, Callable[[nn.Module], Any]]] = {
    "parallel": ("module.", nn.DataParallel), "compiled": ("_orig_mod.", compiled),
}  # fmt: skip


@pytest.mark.parametrize("wrapper", WRAPPED)
@pytest.mark.parametrize("method", METHODS)
def test_a_wrapped_network_is_refused_where_what_is_drawn_has_other_names(method: str, wrapper: str) -> None:
    before, wrap = WRAPPED[wrapper]
    values = {"threshold": f"{before}2", "head": f"{before}4"}
    if method in DRAWS:
        words = rf"^{method} draws {before}\d\.(weight|bias) anew, which the network of `fresh` has not: .*`\.module`"
        with pytest.raises(ValueError, match=words):
            begun(method, wrap(network()), fresh=network, **values)
    else:
        begun(method, wrap(network()), fresh=network, **values)
    begun(method, wrap(network()), fresh=lambda: wrap(network()), **values)


@pytest.mark.parametrize("method", DRAWS)
@pytest.mark.parametrize("width", [1, 5], ids=["that would spread", "that would not"])
def test_another_shape_is_refused(method: str, width: int) -> None:
    with pytest.raises(ValueError, match=rf"^{method} draws .* anew, which in the network of `fresh` is \(.*{width}"):
        begun(method, network(), fresh=lambda: network(width))


def parted(kind: Callable[[nn.Linear], Any], layers: tuple[int, ...]) -> Callable[[], nn.Module]:
    """A network whose layers at these places are made of other parameters."""

    def make() -> nn.Module:
        model = network()
        for place in layers:
            kind(model[place])
        return model

    return make


def pruned(layer: nn.Linear) -> None:
    prune.l1_unstructured(layer, "weight", 0.5)


COMPUTED: dict[str, Callable[[nn.Linear], Any]] = {
    "weight_norm": parametrizations.weight_norm, "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal, "old weight_norm": old_weight_norm,
    "old spectral_norm": old_spectral_norm, "pruned": pruned,
}  # fmt: skip


@pytest.mark.parametrize("layers", [(0,), (0, 2), (0, 2, 4)], ids=["one", "a body", "all"])
@pytest.mark.parametrize("kind", COMPUTED)
def test_methods_by_weights_refuse_layers_that_compute_theirs(kind: str, layers: tuple[int, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the older ones
        make = parted(COMPUTED[kind], layers)
        for method in BY_WEIGHTS:
            with pytest.raises(
                ValueError, match=rf"^{method} goes by the weights of layers, and one is computed from 0"
            ):
                begun(method, make(), fresh=make)


@pytest.mark.parametrize("layers", [(0,), (0, 2, 4)], ids=["one", "all"])
@pytest.mark.parametrize("method", [method for method in METHODS if method not in BY_WEIGHTS])
def test_other_methods_take_such_layers(method: str, layers: tuple[int, ...]) -> None:
    """Their head is known by an example where none has a weight of its own."""
    torch.manual_seed(0)
    make = parted(parametrizations.weight_norm, layers)
    forgetting, optimizer = begun(method, make(), fresh=make, example=torch.zeros(2, 4))
    train(forgetting, optimizer, torch.randn(6, 4, generator=stream(0, "x")))
    assert all(value.isfinite().all() for value in forgetting.model.parameters())


@pytest.mark.parametrize("layers", [(0,), (0, 2), (4,), (2, 4), (0, 2, 4)], ids=str)
@pytest.mark.parametrize("kind", COMPUTED)
def test_the_last_layer_is_the_head_also_where_it_computes_its_weight(kind: str, layers: tuple[int, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = parted(COMPUTED[kind], layers)()
    forgetting, _ = begun("seal_reverse", model, options={"reverse_fc": "descends"})
    assert {name.partition(".")[0] for name in forgetting.groups.parts["fc"]} == {"4"}


def test_a_network_without_a_layers_weight_has_no_head() -> None:
    class Scales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

    model = nn.Sequential(Scales(), Scales(), Scales())
    begun("seal", model, "1", head="2")
    with pytest.raises(ValueError, match=r"^the head follows a rule of its own, and no linear layer"):
        begun("seal_reverse", model, "1", head="2", options={"reverse_fc": "descends"})
    with pytest.raises(ValueError, match=r"^imp goes by the weights of layers, and no trained parameter of two dim"):
        begun("imp", model, "1", head="2")


def normalised(norm: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, 1, 1), norm(), nn.Conv2d(4, 4, 3, 1, 1), nn.Flatten(), nn.Linear(64, 3)
    )


@pytest.mark.parametrize("norm", [lambda: nn.LayerNorm([4, 4, 4]), lambda: nn.RMSNorm([4, 4])], ids=["layer", "rms"])
@pytest.mark.parametrize("method", METHODS)
def test_a_normalisations_scale_of_several_dimensions_is_no_layers_weight(method: str, norm: Any) -> None:
    make = normalised(norm)
    model = make()
    if method in BY_WEIGHTS:
        words = rf"^{method} goes by the weights of layers, and 1\.weight is a (Layer|RMS)Norm's scale, of two dim"
        with pytest.raises(ValueError, match=words):
            begun(method, model, fresh=make)
        model[1].requires_grad_(False)
    begun(method, model, fresh=make)


@pytest.mark.parametrize("method", ["llf", "seal_reinit"])
def test_all_of_the_late_side_is_drawn_whatever_its_layers(method: str) -> None:
    make = normalised(lambda: nn.LayerNorm([4, 4, 4]))
    begun(method, make(), fresh=make, options={"llf_reinitialises": "all"})


class HeadFirst(nn.Module):
    """Registered in another order than it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 3)
        self.stem = nn.Conv2d(3, 8, 3)
        self.body = nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(self.stem(x)).mean((2, 3)))  # type: ignore[no-any-return]


EXAMPLE = torch.zeros(1, 3, 8, 8)
REVERSED = {"reverse_fc": "descends", "first_ascent_generation": 1}


def test_with_an_example_the_head_is_what_gives_the_logits() -> None:
    model = HeadFirst()
    forgetting, optimizer = begun("seal_reverse", model, "body", example=EXAMPLE, head="fc", options=REVERSED)
    climbs: list[bool] = []
    optimizer.register_step_pre_hook(lambda *_: climbs.extend(group["maximize"] for group in optimizer.param_groups))
    next(clocks := forgetting.epochs())
    assert all(module.training for module in model.modules())
    optimizer.step()
    clocks.close()
    assert climbs == [False, True, False], "of stem, body and fc"


def test_kernel_splitting_keeps_all_classes_of_that_head() -> None:
    model = HeadFirst()
    forgetting, _ = begun("ke_kels", model, "body", example=EXAMPLE, head="fc", fresh=HeadFirst)
    clocks = forgetting.epochs()
    for _ in range(2):
        next(clocks)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    next(clocks)
    redrawn = {name: value != before[name] for name, value in model.state_dict().items()}
    assert not redrawn["fc.weight"][:, :4].any()
    assert redrawn["fc.weight"][:, 4:].all()
    assert not redrawn["body.weight"][:4, :4].any()
    assert redrawn["body.weight"][4:].all()


class ConvolutionalHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x))).mean((2, 3))  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", METHODS)
def test_a_head_that_is_no_linear_layer_stands_in_the_way_of_a_rule_of_its_own_alone(method: str) -> None:
    values: dict[str, Any] = {"example": EXAMPLE, "fresh": ConvolutionalHead, "head": "head"}
    begun(method, ConvolutionalHead(), "body", **values)
    if method == "seal_reverse":
        with pytest.raises(ValueError, match=r"^the head follows a rule of its own, and no linear layer .* an example"):
            begun(method, ConvolutionalHead(), "body", **values, options=REVERSED)


def test_a_head_that_is_frozen_is_the_head_all_the_same() -> None:
    """Else `ke_kels` would keep all outputs of the last layer that is trained."""
    model = network()
    model[4].requires_grad_(False)
    forgetting, _ = begun("ke_kels", model, fresh=network)
    seen = forgetting._view(Clock(2, 0), {})
    assert [*seen.weights] == ["0.weight", "2.weight"]
    assert seen.classifier == "4.weight"


def test_a_head_in_the_late_sides_group_is_named() -> None:
    model = network()
    sides = split_parameters(model, "2")
    optimizer = SignedSGD([{"params": list(side.values())} for side in (sides.early, sides.late)], 0.05)
    words = r"holds parameters of late, fc, which follow .* gives for 2, and one of the parameters of 4 \(fc\) alone$"
    with pytest.raises(ValueError, match=words):
        begun("seal_reverse", model, optimizer=optimizer, options=REVERSED)
    with pytest.raises(ValueError, match=r"of early, late, fc, which follow .* gives for 2$"):
        begun("seal", model, optimizer=SignedSGD(model.parameters(), 0.05))


@pytest.mark.parametrize("outside", ["0", "2", "4"])
@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_moves_or_masks_is_in_the_optimizer_or_frozen(method: str, outside: str) -> None:
    """What another optimizer steps may descend and be forgotten alone."""
    held = {"0": ("seal", "seal_reinit", "seal_freeze"), "2": ("seal_reverse",), "4": ("seal_reverse",)}[outside]
    model = network()
    inside = [value for name, value in model.named_parameters() if not name.startswith(outside)]
    optimizer = SignedSGD([{"params": [value]} for value in inside], 0.05, 0.9)
    values = {"optimizer": optimizer, "fresh": network, "options": {"reverse_fc": "ascends"} if "rev" in method else {}}
    if method in (*held, "sagd", "imp", "dsd"):
        with pytest.raises(
            ValueError, match=rf"^{outside}\.weight is in no group of the optimizer, and by this method it"
        ):
            begun(method, model, **values)
        model[int(outside)].requires_grad_(False)
    forgetting, _ = begun(method, model, **values)
    if method == "seal_freeze" and outside == "0":
        return  # all of it is frozen then

    in_groups = {id(value) for value in inside}
    other = SignedSGD([value for value in model.parameters() if id(value) not in in_groups], 0.05, 0.9)
    x = torch.randn(6, 4, generator=stream(0, "x"))
    for _ in forgetting.epochs():
        for stepped in (optimizer, other):
            stepped.zero_grad()
        logits = model(x)
        forgetting.loss(x, logits, cross_entropy(logits, torch.arange(6) % 3)).backward()
        for stepped in (optimizer, other):
            stepped.step()
            stepped.state_dict()


def test_a_side_in_no_group_climbs_nowhere_and_is_named() -> None:
    model = network()
    with pytest.raises(
        ValueError, match=r"^0\.weight is in no group of the optimizer, and by this method its part, early, climbs"
    ):
        begun("seal", model, optimizer=SignedSGD(model[4].parameters(), 0.05))


@pytest.mark.parametrize("count", [0, -1])
@pytest.mark.parametrize("what", ["generations", "epochs"])
@pytest.mark.parametrize("method", METHODS)
def test_a_course_without_an_epoch_is_refused(method: str, what: str, count: int) -> None:
    model = network()
    course = {"generations": 2, "epochs": 2} | {what: count}
    with pytest.raises(ValueError, match=rf"^{what} is {count}, expected at least 1$"):
        Forgetting(method, model, SignedSGD(model.parameters(), 0.05), "2", fresh=network, **course)


class Keeping(nn.Module):
    """Of each pass it keeps what a reader might look at, with its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.last: Tensor | None = None
        self.maps: list[dict[str, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.body(x).relu()
        self.maps = [{"body": self.last * 2}]
        return self.head(self.last)  # type: ignore[no-any-return]


LEARN = ("ban", "ban_labels")
HOLDING: dict[str, Callable[[], nn.Module]] = {
    kind: parted(COMPUTED[kind], (0, 2)) for kind in ("old weight_norm", "old spectral_norm", "pruned")
}
HOLDING["keeps its activations"] = Keeping


@pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", HOLDING)
@pytest.mark.parametrize("method", LEARN)
def test_a_network_that_holds_what_it_has_computed_teaches(method: str, kind: str) -> None:
    """Of which torch copies no tensor."""
    torch.manual_seed(0)
    model, x = HOLDING[kind](), torch.randn(6, 4, generator=stream(0, "x"))
    threshold, head = ("head", "head") if kind == "keeps its activations" else ("2", "4")
    forgetting, optimizer = begun(method, model, threshold, head=head, fresh=HOLDING[kind])
    train(forgetting, optimizer, x)

    teacher = forgetting.teacher
    assert teacher is not None
    model.load_state_dict(forgetting.previous)  # the last generation's end
    teacher.follow(Teacher(model, forgetting.previous, 1.0))
    torch.testing.assert_close(teacher.network(x), model.eval()(x))


@pytest.mark.parametrize("method", METHODS)
def test_a_network_that_cannot_be_copied_is_refused_by_those_that_learn_from_one(method: str) -> None:
    model = network()
    model[0].lock = threading.Lock()
    if method not in LEARN:
        begun(method, model, fresh=network)
        return
    with pytest.raises(
        ValueError, match=r"^the method learns from a copy .*: cannot pickle '_thread.lock' object; keep"
    ):
        begun(method, model, fresh=network)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_teacher_of_any_weight_is_rehearsed(weight: float) -> None:
    """One of weight 0 is made all the same."""
    model = network()
    model[0].lock = threading.Lock()
    with pytest.raises(ValueError, match=r"^the method learns from a copy"):
        begun("ban_labels", model, fresh=network, options={"teacher_weight": weight})


def test_a_schedule_that_asks_for_a_loss_is_said_before_the_first_epoch() -> None:
    forgetting, optimizer = begun("seal", network(), schedule=ReduceLROnPlateau)
    with pytest.raises(ValueError, match=r"`schedule` gives a ReduceLROnPlateau, which asks for a loss at each step"):
        next(forgetting.epochs())
    assert [group["maximize"] for group in optimizer.param_groups] == [False] * 3
