"""What a GPU would take: counts against torch's own operations, and an arm's price by hand."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from seal.cli import app
from seal.config import Params
from seal.errors import UserError
from seal.models import block_names, build
from seal.planning.costs import work
from seal.planning.gpu import A100, GPUS, H100, START, passes_of, rates_on
from seal.planning.gpu_bills import TABLE_2_ARMS, Prices
from seal.planning.gpu_show import show_gpus
from seal.planning.measured_gpu import measured_gpus, of_paper_shape, runs_at_once
from seal.planning.network import Network, curvature_product, forward_pass, network_of, network_of_tier, training_step
from seal.record import read_json, write_json
from seal.rng import stream
from seal.tiers import tier_params

ROOT = Path(__file__).parents[1]
CLAIMS = ROOT / "eval/claims/claims.yaml"
BATCH = 32
# Neither launched nor moving anything: views and fresh memory.
NO_OPERATION = ("detach", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view")


class Counted(TorchDispatchMode):
    """Operations that a device would launch, and the bytes of their operands."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        name = func.overloadpacket.__name__
        if not func.is_view and name not in NO_OPERATION:
            self.names[name] += 1
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
            self.bytes += sum(tensor.nbytes for tensor in tensors)
        return result


def counted(step: Callable[[], object]) -> tuple[int, int, int]:
    """Operations, bytes, FLOP."""
    with Counted() as operations, FlopCounterMode(display=False) as flop:
        step()
    return operations.names.total(), operations.bytes, flop.get_total_flops()


@pytest.fixture(params=["paper", "mini", "smoke"])
def tier(request: pytest.FixtureRequest) -> Params:
    return tier_params(request.param, folder=ROOT / "params")


def network_and_model(tier: Params) -> tuple[Network, Any, torch.Tensor, torch.Tensor]:
    side, classes = tier.datasets[tier.source].image_size, 20
    model = build(tier.model, classes, stream(0, "initialisation"), "meta")
    x = torch.empty(BATCH, 3, side, side, device="meta")
    return network_of(tier.model, side, classes), model, x, torch.zeros(BATCH, dtype=torch.int64, device="meta")


def test_a_networks_size_is_that_of_its_state(tier: Params) -> None:
    network, model, x, _ = network_and_model(tier)
    features = []
    for name in block_names(tier.model).values():
        model.get_submodule(name).register_forward_hook(lambda module, x, output: features.append(output[0].numel()))
    model(x)

    assert network.size.features == sum(features)
    assert network.size.parameters == sum(value.numel() for value in model.state_dict().values())
    assert network.trained_parameters == sum(value.numel() for value in model.parameters())
    assert len(network.convolutions) == sum(isinstance(module, torch.nn.Conv2d) for module in model.modules())


def test_a_training_step_is_what_torch_launches_moves_and_multiplies(tier: Params) -> None:
    network, model, x, y = network_and_model(tier)

    def step() -> None:
        loss = cross_entropy(model(x), y, label_smoothing=tier.training.label_smoothing)
        torch.autograd.grad(loss, list(model.parameters()))

    launches, moved, flop = counted(step)
    expected = training_step(network, BATCH)
    assert flop == expected.flop
    # Beside them the batch's images (16), hits (3), gradients' first storing, and the step, which moves 20 bytes a
    # parameter.
    assert expected.launches - 25 <= launches <= expected.launches - 17
    assert moved + 20 * network.trained_parameters == pytest.approx(expected.bytes, rel=0.08)


def test_the_papers_step_is_as_the_plan_says() -> None:
    paper = tier_params("paper", folder=ROOT / "params")
    step = training_step(network_of(paper.model, 64, 200), 32)
    assert step.launches == 445
    assert step.flop / 1e9 == pytest.approx(63.5, abs=0.05)
    assert step.bytes / 1e9 == pytest.approx(2.8, abs=0.15)


def test_a_forward_pass_and_a_product_are_counted_too(tier: Params) -> None:
    network, model, x, y = network_and_model(tier)
    model.eval()
    with torch.no_grad():
        launches, moved, flop = counted(lambda: model(x))
    expected = forward_pass(network, BATCH)
    # The linear layer too; and a small stem has no pooling.
    assert launches == expected.launches + (tier.model.stem == "imagenet")
    assert flop == expected.flop
    assert moved == pytest.approx(expected.bytes, rel=0.08)

    parameters = list(model.parameters())
    gradients = torch.autograd.grad(cross_entropy(model(x), y), parameters, create_graph=True)
    launches, moved, flop = counted(lambda: torch.autograd.grad(gradients, parameters, parameters))
    expected = curvature_product(network, BATCH)
    assert launches == pytest.approx(expected.launches, rel=0.08)
    assert moved == pytest.approx(expected.bytes, rel=0.15)
    assert flop == pytest.approx(expected.flop, rel=0.08)


def test_an_arms_price_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """SEAL's training by one seed: nine generations of 160 epochs, from the first that all share."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("seal.planning.counts.PACKS", ROOT / "nowhere")
    paper = tier_params("paper")
    network = network_of(paper.model, 64, 200)
    seal = work("train@seal-0", paper, network.size)

    steps = 9 * 160 * 100_000 / 32  # 4.5 million
    # Each generation: clean images twice after the ascent and twice at the end; test images by the last weights.
    batches_measured = 9 * (4 * 100_000 + 10_000) / 32
    states_bytes = 9 * 3 * 4 * 23_971_005  # those of generations' ends; the others are written beside the steps
    seconds = steps * 445 * 6e-6 + batches_measured * 173 * 6e-6 + states_bytes / 1e9 + 20

    hours = Prices({"train@seal-0": seal}, paper, network).bill("SEAL", ["train@seal-0"]).hours
    assert hours == pytest.approx((seconds / 3600, seconds / 3600)), "launches bind on both"
    assert 3.3 < hours[0] < 3.7


def test_what_binds_is_the_scarcest(tier: Params) -> None:
    network = network_of(tier.model, 64, 200)
    for gpu in GPUS:
        launches, moved, flop = training_step(network, 1), training_step(network, 10_000), training_step(network, 1)
        assert gpu.seconds(launches, gpu.tf32_flops)[1] == "launches"
        assert gpu.seconds(moved, gpu.tf32_flops)[1] == "bytes"
        assert gpu.seconds(flop, 1e9)[1] == "arithmetic"

    passes = passes_of(network, tier)
    h100, a100 = rates_on(H100, passes), rates_on(A100, passes)
    assert h100.trained == a100.trained
    assert h100.searched > 3 * a100.searched


def test_bills_add_up_and_table_2_asks_for_its_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    paper = tier_params("paper")
    network = network_of(paper.model, 64, 200)
    stages = ["fetch@tiny_imagenet", "pack@tiny_imagenet", "fetch@eurosat", "report"]
    for seed in range(3):
        stages += [f"base@{seed}", *(f"train@{arm}-{seed}" for arm in paper.main_arms)]
        stages += [f"hessian@{arm}-{seed}" for arm in paper.evaluated_arms]
    prices = Prices({stage: work(stage, paper, network.size) for stage in stages}, paper, network)

    *kinds, everything = prices.by_kind()
    assert sum(bill.hours[0] for bill in kinds) == pytest.approx(everything.hours[0])
    assert everything.count == len(stages)

    # Images, generation 1 and the four arms that the table compares, by three seeds.
    (table_2,) = prices.of_table_2()
    assert set(TABLE_2_ARMS) == set(paper.main_arms) - {"seal_s0"}
    claims = [claim for claim in yaml.safe_load(CLAIMS.read_text())["claims"] if "Table 2" in claim["place"]]
    compared = {term.partition("@")[0] for claim in claims if claim["area"] == "C2" for term in claim["terms"]}
    assert compared | {"normal_long_cosine"} == {"normal", *TABLE_2_ARMS}
    assert table_2.count == 2 + 3 * (1 + 4)
    trained = [bill for bill in kinds if bill.words in ("base", "train")]
    s0 = prices.bill("S = 0", [f"train@seal_s0-{seed}" for seed in range(3)])
    images = prices.bill("images", ["fetch@tiny_imagenet", "pack@tiny_imagenet"])
    assert table_2.hours[0] == pytest.approx(sum(bill.hours[0] for bill in (*trained, images)) - s0.hours[0])
    assert images.hours[0] > 2 * START / 3600


def acceptance(path: Path, **changes: Any) -> Path:
    """A JSON as `seal accept` writes it on a GPU, of invented rates."""
    sections: dict[str, Any] = {
        "environment": {"gpu": "H300", "rates": {"launched": 1e6}},
        "training": {"resnet50_width64_tf32": {"graph_ms_a_step": 2.0}, "rates": {"trained": 16e3, "measured": 5e4}},
        "fewshot": {"rates": {"seen": 4e4, "tuned": 2e4}},
        "hessian": {"rates": {"curved": 3e3}},
        "knn": {"rates": {"searched": 2e4}},
        "several_runs": {"runs_per_gpu": 2},
    }
    written = {"tiny": False, "date": "2030-01-02T00:00:00+00:00", "sections": sections} | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(written))
    return path


def test_a_measured_card_prices_stages_by_its_own_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    paper = tier_params("paper")
    network = network_of(paper.model, 64, 200)
    cost = work("train@seal-0", paper, network.size)
    [gpu] = measured_gpus(acceptance(tmp_path / "h300.json"))
    hours = Prices({"train@seal-0": cost}, paper, network, measured=[gpu]).bill("SEAL", ["train@seal-0"]).hours
    seconds = 9 * 160 * 100_000 / 16e3 + cost.measured / 5e4 + cost.saved / 1e9 + START
    assert len(hours) == len(GPUS) + 1
    assert hours[-1] == pytest.approx(seconds / 3600)
    assert of_paper_shape(paper)
    assert not of_paper_shape(tier_params("mini"))


def test_a_named_acceptance_prices_places_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("seal.planning.places.needs_of_tier", lambda tier: {"train@seal-0": []})
    path = acceptance(tmp_path / "h300.json")
    done = CliRunner().invoke(app, ["plan", "--tier", "paper", "--places", "8", "--acceptance", str(path)])
    assert "A place is an H300: measured, with" in done.output


SOME = ["fetch@tiny_imagenet", "base@0", "train@seal-0", "hessian@seal-0"]


def told_of_gpus(**changes: Any) -> str:
    paper = tier_params("paper").model_copy(update=changes)
    network = network_of_tier(paper)
    console = Console(width=400)
    with console.capture() as captured:
        show_gpus({stage: work(stage, paper, network.size) for stage in SOME}, paper, network, console)
    return captured.get()


@pytest.mark.parametrize(
    ("changes", "bills"),
    [
        ({"evaluated_arms": ["seal"]}, ["Table 2 by 3 seeds", "hessian of seal-0", "seed 0, all"]),
        ({"evaluated_arms": []}, ["Table 2 by 3 seeds", "seed 0, all"]),
        ({"seeds": [0], "evaluated_arms": ["seal"]}, ["Table 2 by 1 seed ", "hessian of seal-0", "seed 0, all"]),
        ({"seeds": []}, []),
    ],
)
def test_a_bill_of_an_empty_list_is_left_out(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], bills: list[str]
) -> None:
    monkeypatch.chdir(ROOT)
    told = told_of_gpus(**changes)
    known = ("Table 2 by 3 seeds", "Table 2 by 1 seed ", "hessian of seal-0", "seed 0, all")
    assert [words for words in known if words in told] == bills


@pytest.mark.parametrize(("precision", "peak"), [("tf32", "495"), ("bfloat16", "989"), ("float32", "67")])
def test_the_assumptions_name_the_precision_that_trains(
    monkeypatch: pytest.MonkeyPatch, precision: str, peak: str
) -> None:
    monkeypatch.chdir(ROOT)
    training = tier_params("paper").training.model_copy(update={"precision": precision})
    told = told_of_gpus(training=training)
    assert f"50% of {peak} TFLOP/s in {precision} (a training step, a batch measured" in told
    assert "of 67 TFLOP/s in float32" in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tiny": True}, r"found a try on a CPU, expected all sections on a GPU; run `seal accept --out .*` there"),
        ({"sections": {}}, r"found no rates of environment, fewshot, hessian, knn, training, expected all sections"),
        ({"sections": None}, r"found no JSON of the acceptance \('NoneType' object is not iterable\)"),
        ({"sections": ["training"]}, r"found no JSON of the acceptance"),
        (
            {"sections": {"training": 5, "knn": None, "fewshot": "x"}},
            r"found no rates of environment, fewshot, hessian",
        ),
    ],
)
def test_a_file_without_rates_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        measured_gpus(acceptance(tmp_path / "a.json", **changes))
    with pytest.raises(UserError, match=r"found no JSON of the acceptance \(.*No such file"):
        measured_gpus(tmp_path / "not there.json")


@pytest.mark.parametrize(
    ("section", "key", "place"),
    [
        ("training", "rates", r"training\.rates\.measured"), ("knn", "rates", r"knn\.rates\.searched"),
        ("several_runs", "runs_per_gpu", r"several_runs\.runs_per_gpu"),
        ("training", "resnet50_width64_tf32", r"training\.resnet50_width64_tf32\.graph_ms_a_step"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [5, None, "Infinity", {}, {"measured": 0.0, "searched": -1, "graph_ms_a_step": "2"}])
def test_numbers_of_an_acceptance_that_are_none_are_one_line(
    tmp_path: Path, section: str, key: str, place: str, value: Any
) -> None:
    path = acceptance(tmp_path / "a.json")
    accepted = read_json(path)
    accepted["sections"][section][key] = 0 if value == 5 and key == "runs_per_gpu" else value
    write_json(path, accepted)
    with pytest.raises(UserError, match=rf"^{path}: {place}: found .*, expected a number above 0; run `seal accept"):
        measured_gpus(path)


def test_a_file_without_a_date_or_the_precision_that_is_asked_for_is_one_line(tmp_path: Path) -> None:
    path = acceptance(tmp_path / "a.json")
    (card,) = measured_gpus(path)
    with pytest.raises(UserError, match=r"found no training in float64, expected one; run `seal accept` there again"):
        card.rates("float64")

    accepted = read_json(path)
    del accepted["date"]
    write_json(path, accepted)
    with pytest.raises(UserError, match=r"found no JSON of the acceptance \('date'\)"):
        measured_gpus(path)


def test_a_card_is_shared_by_as_many_runs_as_its_acceptance_found_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert runs_at_once(["H300"]) == 1, "nothing was measured"
    acceptance(tmp_path / "expected/gpu/h300.json")
    assert runs_at_once(["H300", "H300"]) == 2
    assert runs_at_once(["H300", "another"]) == 1
    assert runs_at_once([]) == 1

    for kept in ({"passed": False, "error": "out of memory"}, {"passed": False, "not_run": "no time left"}):
        accepted = read_json(acceptance(tmp_path / "expected/gpu/h300.json"))
        write_json(
            tmp_path / "expected/gpu/h300.json", accepted | {"sections": accepted["sections"] | {"several_runs": kept}}
        )
        assert runs_at_once(["H300"]) == 1, "the section failed, the others hold"
