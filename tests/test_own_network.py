"""`seal evaluate`: our own networks give their stages' values, others are refused in a line before anything begins."""

import importlib
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from typer.testing import CliRunner

from eval.blocks import blocks_in_order
from eval.own import Asked, _is_the_same, record_of
from eval.report.own import own_chapter
from seal.cli import app
from seal.config import Params, load_params
from seal.data import fetch, packing
from seal.data.pack import open_pack
from seal.errors import UserError
from seal.evaluate_command import changed_params, normalisation_of_flags
from seal.evaluations import EVALUATIONS
from seal.networks import head_of
from seal.own_records import own_networks
from seal.record import read_json, write_json
from seal.sections import NamedModel
from seal.tracking.mlflow_view import View
from seal.tracking.own import sync_own
from seal.weights import put_weights, read_weights
from tests.conftest import NewDatabase
from tests.small_project import write_params

pytestmark = pytest.mark.xdist_group("mlflow")  # one new database

VIT = {"image_size": 8, "patch_size": 4, "num_layers": 3, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16}
HALVES = {"test": 0.25, "val": 0.25}
FEW = {"targets": ["mine"], "n_way": 2, "shots": [1], "n_query": 3, "episodes": 4, "epochs": 2}
TINY = {
    "transfer": {"targets": ["mine"], "epochs": 2, "learning_rates": [0.1]},
    "fewshot": FEW,
    "fewshot_affines": FEW,
    "prediction_depth": {"generations": [1], "neighbours": 3},
    "hessian": {"batch_size": 8, "batches": 1, "fixed_batches": 1, "eigenvalues": 1, "first_steps": 3},
}


def own_vit(classes: int = 2) -> nn.Module:
    torch.manual_seed(0)
    network = torchvision.models.VisionTransformer(**VIT, num_classes=classes).eval()
    nn.init.normal_(network.heads.head.weight)  # torchvision's begins as zeros
    return network


def asked(checkpoint: str | Path, what: str, **others: Any) -> Asked:
    return Asked(Path(checkpoint), "mine", what.split(","), **others)


def vit_options(classes: int = 2) -> dict[str, Any]:
    return {"model": "torchvision:VisionTransformer", "options": VIT | {"num_classes": classes}}


def params() -> Params:
    write_params(**TINY)
    return load_params()


def test_our_own_network_has_its_stages_values(project: Path) -> None:
    own_params = params()
    targets = {name: ["--target", "mine"] if evaluation.targeted else [] for name, evaluation in EVALUATIONS.items()}
    for name, target in targets.items():
        importlib.import_module(f"eval.{name}").main(["--run", "normal-0", *target])

    weights = project / "results/normal-0/weights/gen-01.safetensors"
    record = record_of(asked(weights, ",".join(EVALUATIONS), name="ours"), own_params)
    for name, target in targets.items():
        mine = record / f"eval/{name}-mine"
        theirs = project / "results/normal-0/eval" / (f"{name}-mine" if target else name)
        here, there = read_json(mine / "gen-00.json"), read_json(theirs / "gen-01.json")
        for key in ("values", "params", "checkpoint_sha256", "data_sha256"):
            assert here[key] == there[key], (name, key)
        with np.load(mine / "gen-00.npz") as arrays, np.load(theirs / "gen-01.npz") as expected:
            assert arrays.files == expected.files
            assert all(arrays[array].tobytes() == expected[array].tobytes() for array in arrays.files)


def test_torchvisions_network_of_the_parameters_sees_images_of_the_size_that_it_was_trained_on(project: Path) -> None:
    """As its stages do, whatever size the other dataset is packed at."""
    write_params(**TINY, datasets={"larger": {"source": "folder", "path": "images", "image_size": 12, "split": HALVES}})
    for stage in (fetch, packing):
        stage.main(["larger"])
    own_params = load_params()
    named = NamedModel(network="torchvision:VisionTransformer", options=VIT)

    asks = Asked(saved(own_vit()), "larger", ["transfer"], options={"num_classes": 2}, name="by_params")
    by_params = record_of(asks, own_params.model_copy(update={"model": named}))
    given = record_of(replace(asks, model=named.network, options=asks.options | VIT, size=8, name="given"), own_params)
    values = [read_json(record / "eval/transfer-larger/gen-00.json")["values"] for record in (by_params, given)]
    assert values[0] == values[1]


def test_depth_of_a_vit_is_a_hook_and_scikit_learns(
    project: Path, capsys: pytest.CaptureFixture[str], new_database: NewDatabase
) -> None:
    shutil.copy(new_database.path, project)
    network = own_vit()
    torch.save({"model": {f"module._orig_mod.{name}": value for name, value in network.state_dict().items()}}, "vit.pt")
    own_params = params()
    record = record_of(asked("vit.pt", "prediction_depth,hessian,fewshot", **vit_options()), own_params)
    said = capsys.readouterr().out
    for words in ("took its 'model'", "stripped 'module.'", "stripped '_orig_mod.'", "images as packed, mean [0.485"):
        assert words in said

    pack = open_pack(project / "data/packs/mine.safetensors")
    mean, std = (torch.tensor(numbers) for numbers in (own_params.training.mean, own_params.training.std))

    def images(split: str) -> torch.Tensor:
        return ((pack[split].images / 255 - mean) / std).permute(0, 3, 1, 2)

    def seen(split: str) -> tuple[list[np.ndarray], np.ndarray]:
        rows: list[np.ndarray] = []
        hooks = [layer.register_forward_hook(lambda module, x, y: rows.append(y.detach().flatten(1).numpy()))
                 for layer in network.encoder.layers]  # fmt: skip
        logits = network(images(split))
        for hook in hooks:
            hook.remove()
        return rows, logits.argmax(1).numpy()

    (train, _), (test, prediction) = seen("train"), seen("test")
    depth = np.zeros(len(prediction), int)
    for number, (theirs, mine) in enumerate(zip(train, test, strict=True), start=1):
        classifier = KNeighborsClassifier(3, algorithm="brute").fit(theirs, pack["train"].labels.numpy())
        depth[classifier.predict(mine) != prediction] = number
    with np.load(record / "eval/prediction_depth-mine/gen-00.npz") as arrays:
        assert arrays["depth"].tolist() == depth.tolist()
    assert len(set(depth.tolist())) > 1, "a depth that every network has shows nothing"
    values = read_json(record / "eval/prediction_depth-mine/gen-00.json")["values"]
    assert values["blocks"] == [f"encoder.layers.encoder_layer_{number}" for number in range(3)]

    (chapter,) = own_chapter(own_networks())
    assert {row[2] for row in chapter.table.rows} == {"mine"}
    assert {"largest Hessian eigenvalue", "1-shot, linear, mine, %"} <= {row[3] for row in chapter.table.rows}
    assert [str(outcome) for outcome in (*sync_own(), *sync_own())] == ["vit: written", "vit: unchanged"]

    shutil.copytree(record, record.parent / "spoilt")
    (record.parent / "spoilt/eval/prediction_depth-mine/gen-00.json").write_text("{")
    (chapter,) = own_chapter(own_networks())
    assert chapter.text[-1].startswith("BROKEN, and not shown: evaluated/spoilt/eval/prediction_depth-mine/gen-00.json")
    assert {row[0] for row in chapter.table.rows} == {"vit"}
    assert [(outcome.run, outcome.status) for outcome in sync_own()] == [("spoilt", "BROKEN"), ("vit", "unchanged")]
    (shown,) = View(Path.cwd()).find("own/vit")
    assert shown.data.metrics["final/prediction_depth-mine/mean_depth"] == pytest.approx(depth.mean())


def saved(network: nn.Module, change: Callable[[str, torch.Tensor], torch.Tensor] = lambda name, value: value) -> Path:
    path = Path("vit.safetensors")
    save_file({name: change(name, value).contiguous() for name, value in network.state_dict().items()}, path)
    return path


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def broken(kind: str) -> Path:
    """A file that cannot be read, of each kind."""
    path = Path("file.pt")
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("photo.txt", "none")
    elif kind == "code":
        torch.save({"state_dict": Code()}, path)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"weights": Code()}))
    elif kind in ("cut", "cut safetensors"):
        whole = saved(own_vit())
        if kind == "cut":
            torch.save(own_vit().state_dict(), whole)
        path.write_bytes(whole.read_bytes()[:-3000])
    elif kind == "text":
        path.write_text("no weights at all")
    elif kind == "list":
        torch.save([torch.zeros(1)], path)
    elif kind == "numbered":
        torch.save(dict(enumerate(torch.zeros(2))), path)
    elif kind == "nameless":
        torch.save({"weight": torch.zeros(1), "step": 3}, path)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nothing", "not found"), ("folder", "is a folder"), ("empty", "is empty"), ("zip", "a zip of other files"),
        ("code", r"holds code \(.*print\), which weights_only=True refuses"),
        ("pickle", r"holds .*, which weights_only=True refuses"),
        ("cut", "cut off, its end is missing"), ("cut safetensors", "not a whole safetensors file"),
        ("text", "neither safetensors nor"), ("list", "holds list, expected a state dict"),
        ("numbered", r"file\.pt: 0, 1: no name of a tensor, expected a state dict"),
        ("nameless", r"file\.pt: step: no name of a tensor, expected a state dict"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_checkpoint_is_a_line(
    kind: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words) as refused:
        read_weights(broken(kind))
    assert "\n" not in str(refused.value)
    assert capsys.readouterr().out == "", "code was run"


def test_other_weights_are_a_line_and_halves_are_cast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network, other = own_vit(), own_vit()
    for dtype in (torch.float16, torch.bfloat16):
        halves = read_weights(saved(network, lambda name, value: value.to(dtype)))  # noqa: B023
        notes = put_weights(other, halves, "heads.head", drop_head=False)
        assert notes == [f"cast {str(dtype).removeprefix('torch.')} to float32"]
        assert other.class_token.dtype == torch.float32

    with pytest.raises(UserError, match=r"heads\.head\.bias has numbers that are not finite"):
        read_weights(saved(network, lambda name, value: value / 0 if name == "heads.head.bias" else value))
    renamed = read_weights(saved(nn.ModuleDict({"net": network})))
    with pytest.raises(UserError, match=r"missing class_token.* \(nearest: net.class_token\); unexpected net\.class"):
        put_weights(other, renamed, "heads.head", drop_head=False)

    more = read_weights(saved(own_vit(7)))
    with pytest.raises(UserError, match=r"head\.weight is \(7, 8\), the network's is \(2, 8\); give --option num_cl"):
        put_weights(other, more, "heads.head", drop_head=False)
    assert "dropped its head" in put_weights(other, more, "heads.head", drop_head=True)[0]


@pytest.mark.parametrize(
    ("what", "others", "words"),
    [
        ("transfr", {}, "--what transfr: no such evaluation"),
        ("transfer,hessian", {}, "hessian: the network's head has 7 classes, mine has 2; leave it out"),
        ("prediction_depth", {"drop_head": True}, "prediction_depth: .* --drop-head leaves out"),
        ("fewshot_affines", {}, "fewshot_affines: trains BatchNorm's scales and shifts, of which the network has none"),
        ("transfer", {"size": 12}, "on an image of 12x12: Wrong image height.*; give --size"),
        ("transfer", {"on": "digts"}, "--on digts: no such dataset"),
    ],
)  # fmt: skip
def test_what_a_network_is_no_use_for_is_refused_before_anything_begins(
    project: Path, what: str, others: dict[str, Any], words: str
) -> None:
    asks = Asked(saved(own_vit(7)), **({"on": "mine", "what": what.split(",")} | vit_options(7) | others))
    with pytest.raises(UserError, match=words):
        record_of(asks, params())
    assert not Path("evaluated").exists()


@pytest.mark.parametrize("name", ["a/b", "/tmp/x", ".", "..", "../x", "a b", "a\nb"])
def test_a_name_under_which_no_record_is_found_is_a_line(project: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"found {re.escape(name)} as the record's name, expected letters"):
        record_of(asked("vit.safetensors", "transfer", name=name), params())
    with pytest.raises(UserError, match="found nothing as the record's name, expected letters"):
        record_of(asked(".pt", "transfer"), params())
    with pytest.raises(UserError, match="not found"):
        record_of(asked("vit.safetensors", "transfer", name="é-1.2_b"), params())


@pytest.mark.parametrize("change", ["hessian.batches=[1", "hessian={a: 1, a: 2}", "hessian.batches=2001-13-13"])
def test_a_change_that_is_no_yaml_is_a_line(project: Path, change: str) -> None:
    with pytest.raises(UserError, match=f"^--set {re.escape(change)}: .*; give KEY=VALUE, as"):
        changed_params([change])
    assert changed_params(["hessian.batches=7"]).hessian.batches == 7


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ("nan,0,0", "1,1,1"), ("0,0,0", "nan,nan,nan"), ("0,0,0", "1,nan,1"), ("inf,0,0", "1,1,1"),
        ("0,0,0", "1,1,inf"), ("0,0,0", "1,1,0"), ("0,0,0", "-1,1,1"), ("0,0", "1,1,1"), ("0,0,0", None),
    ],
)  # fmt: skip
def test_a_normalisation_that_is_no_numbers_is_a_line(mean: str, std: str | None) -> None:
    with pytest.raises(UserError, match="expected three numbers each, of --std above 0; give"):
        normalisation_of_flags(mean, std)
    assert normalisation_of_flags("-1,0,.5", "1,2,.25") == ([-1, 0, 0.5], [1, 2, 0.25])


class Branches(nn.Module):
    """Two blocks beside each other, or one after the other that also sees what the first was given."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)  # type: ignore[no-any-return]

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order, self.a, self.b, self.c = order, self.Block(), self.Block(), self.Block()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.a(x)
        if self.order == "beside":
            last = self.c(a + self.b(x))
        elif self.order == "past":
            last = self.c(a + self.b(a))
        else:
            last = self.b(a) if self.order == "line" else self.a(self.b(a))
        return self.fc(last.mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("beside", "b does not follow on a"), ("past", "c sees a past b"), ("twice", "a runs twice"),
    ],
)  # fmt: skip
def test_a_network_whose_blocks_run_in_no_one_order_has_no_depth(order: str, words: str) -> None:
    example = torch.rand(2, 3, 4, 4)
    assert head_of(Branches(order).eval(), example) == "fc"
    with pytest.raises(UserError, match=f"prediction_depth: .*{words}"):
        blocks_in_order(Branches(order).eval(), example)
    assert blocks_in_order(Branches("line").eval(), example) == ["a", "b"], "c is not run"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"name": "vit", "size": 64', "not the JSON that it was written as; delete the folder"),
        ("", "not the JSON"), ("[]", "not the JSON"), ("[" * 100_000, "not the JSON"), (b"\xff", "not the JSON"),
        ('{"name": "vit"}', "size is not there, expected None; give another --name, or delete the folder"),
        ('{"name": "vit", "size": null, "head": "kept"}', "head is kept, expected not there"),
        ('{"name": "vit", "size": 64}', "size is 64, expected None"),
    ],
    ids=["cut", "empty", "a list", "deep", "no text", "a key less", "a key more", "another"],
)  # fmt: skip
def test_a_record_that_is_another_or_damaged_is_one_line(content: str | bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=words) as caught:
        _is_the_same(path, {"name": "vit", "size": None})
    assert "\n" not in str(caught.value)


def test_a_record_of_the_same_is_gone_on_with(tmp_path: Path) -> None:
    facts = {"name": "vit", "size": None}
    _is_the_same(tmp_path / "network.json", facts)
    write_json(tmp_path / "network.json", facts)
    _is_the_same(tmp_path / "network.json", facts)


def test_the_command_takes_values_of_its_own_and_names_one_record(project: Path) -> None:
    write_params(**TINY)
    saved(own_vit())
    words = ["evaluate", "vit.safetensors", "--model", "torchvision:VisionTransformer", "--on", "mine"]
    words += ["--what", "transfer", "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "--set", "transfer.epochs=1"]
    for key, value in (VIT | {"num_classes": 2}).items():
        words += ["--option", f"{key}={value}"]

    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "mean [0.5, 0.5, 0.5], std [0.25, 0.25, 0.25], as given" in result.output
    assert "linear probe, mine, %: " in result.output
    assert read_json(Path("evaluated/vit/eval/transfer-mine/gen-00.json"))["params"]["epochs"] == 1
    other = CliRunner().invoke(app, [word.replace("0.5,0.5,0.5", "0.4,0.5,0.5") for word in words])
    assert other.exit_code == 1
    assert "mean is [0.5, 0.5, 0.5], expected [0.4, 0.5, 0.5]; give another --name" in str(
        other.exception or other.output
    )
    shutil.rmtree("evaluated")
