"""The few-shot stages on a user's small image folder, and what they show the network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import linear
from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

from benchmarks.fewshot import plain_head
from eval import fewshot, fewshot_affines
from eval.episodes import orders, sample_episodes
from eval.heads import draw_heads
from seal.checkpoint import load_tensors
from seal.config import load_params
from seal.data.pack import open_pack
from seal.models import ResNet
from seal.record import read_json
from seal.rng import stream
from seal.train import run_stage
from tests.small import SMALL_FEWSHOT
from tests.small_project import write_params

pytestmark = pytest.mark.numerical

ARGUMENTS = ["--run", "normal-0", "--target", "mine"]


def result(project: Path, name: str, run: str = "normal-0", generation: int = 1) -> tuple[dict[str, Any], Any]:
    path = project / f"results/{run}/eval/{name}-mine/gen-{generation:02d}"
    return read_json(path.with_suffix(".json")), np.load(path.with_suffix(".npz"))


@pytest.mark.parametrize("size", [8, 28, 64])
def test_images_are_enlarged_and_cut_as_torchvision_does_with_pil(size: int) -> None:
    pixels = torch.randint(256, (2, size, size, 3), dtype=torch.uint8, generator=stream(size, "pixels"))
    large = int(size * 1.15)
    benchmark = Compose([Resize([large, large]), CenterCrop(size), PILToTensor()])
    expected = torch.stack([benchmark(Image.fromarray(image.numpy())).permute(1, 2, 0) for image in pixels])
    found = fewshot.enlarged(pixels)
    assert found.shape == pixels.shape
    assert (found.int() - expected.int()).abs().max() <= 1, "PIL rounds after each direction"


def test_linear_heads_end_to_end(project: Path) -> None:
    write_params(fewshot=SMALL_FEWSHOT | {"shots": [1, 2, 20]})
    fewshot.main(ARGUMENTS)
    record, arrays = result(project, "fewshot")
    values = record["values"]
    assert record["evaluation"] == "fewshot"
    assert record["target"] == "mine"
    assert set(values["shots"]) == {"1", "2", "20"}
    assert "0 of 2 classes have 22 images" in values["shots"]["20"]["skipped"]
    for shots in ("1", "2"):
        accuracy, found = arrays[f"accuracy_{shots}"], values["shots"][shots]
        assert found["episodes"] == len(accuracy) == 5
        assert found["accuracy"] == pytest.approx(accuracy.mean(), rel=1e-6)
        assert found["interval"] == pytest.approx(1.96 * np.std(accuracy, ddof=0) / np.sqrt(5), rel=1e-6)
    assert values["left_out"] == {"1": [], "2": []}
    assert record["params"]["shots"] == [1, 2, 20]


def test_the_stages_accuracies_are_those_of_a_plain_loop(project: Path) -> None:
    write_params(fewshot=SMALL_FEWSHOT | {"n_query": 5, "epochs": 20})
    fewshot.main(ARGUMENTS)
    params, pack = load_params(), open_pack("data/packs/mine.safetensors")
    section, training = params.fewshot, params.training
    images, labels = fewshot.benchmark_images(pack, "all", 0)
    model = ResNet(params.model, 2)
    model.load_state_dict(load_tensors(project / "results/normal-0/weights/gen-01.safetensors")[0])
    x = (images.float() / 255 - torch.tensor(training.mean)) / torch.tensor(training.std)
    features = model.eval().features(x.permute(0, 3, 1, 2)).detach()
    episodes = sample_episodes(labels, 2, 2, 5, 5, section.seed)
    accuracy, truth = [], torch.arange(2).repeat_interleave(5)
    for e in range(5):
        order = (each[0] for each in orders(section.seed, [e], 4, section.epochs))
        drawn = draw_heads(section.seed, [e], 2, features.shape[1])[0]
        layer = plain_head(features[episodes.support[e].flatten()], torch.tensor([0, 0, 1, 1]), drawn, order, section)
        logits = linear(features[episodes.query[e].flatten()], layer.weight, layer.bias)
        accuracy.append((logits.argmax(1) == truth).double().mean().item())
    record, arrays = result(project, "fewshot")
    assert arrays["accuracy_2"].tolist() == accuracy
    assert record["values"]["episodes_sha256"]["2"] == episodes.sha256
    with np.load(project / "results/normal-0/eval/fewshot-mine/episodes.npz") as lists:
        assert np.array_equal(lists["support_2"], episodes.support)
        assert np.array_equal(lists["query_2"], episodes.query)


def test_two_networks_and_both_ways_of_tuning_get_the_same_episodes(project: Path) -> None:
    write_params(fewshot=SMALL_FEWSHOT, fewshot_affines=SMALL_FEWSHOT | {"statistics": "frozen", "shots": [2]})
    run_stage("seal-0", load_params())
    fewshot.main(ARGUMENTS)
    fewshot.main(["--run", "seal-0", "--target", "mine"])
    fewshot_affines.main(ARGUMENTS)
    lists = [
        result(project, *which)[0]["values"]["episodes_sha256"]["2"]
        for which in (("fewshot",), ("fewshot", "seal-0", 2), ("fewshot_affines",))
    ]
    assert len(set(lists)) == 1


def test_affines_end_to_end_and_their_accuracies_do_not_depend_on_how_many_are_packed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(fewshot_affines=SMALL_FEWSHOT | {"shots": [2], "affine_learning_rate": 0.1})
    fewshot_affines.main(ARGUMENTS)
    whole, together = result(project, "fewshot_affines")
    monkeypatch.setattr(fewshot_affines.HeadsAndAffines, "bytes_per_episode", lambda *sizes: 300 * 2**20)
    write_params(fewshot_affines=SMALL_FEWSHOT | {"shots": [2], "affine_learning_rate": 0.1, "memory_mb": 600})
    fewshot_affines.main(ARGUMENTS)
    assert np.array_equal(result(project, "fewshot_affines")[1]["accuracy_2"], together["accuracy_2"])
    assert whole["values"]["shots"]["2"]["episodes"] == 5


def test_batch_statistics_of_one_value_end_the_stage_in_one_line(project: Path) -> None:
    write_params(fewshot_affines=SMALL_FEWSHOT | {"shots": [2], "batch_size": 3})
    with pytest.raises(SystemExit, match=r"^error: fewshot_affines: found feature maps of 1x1 and 4 support images"):
        fewshot_affines.main(ARGUMENTS)
    assert not (project / "results/normal-0/eval/fewshot_affines-mine").exists()


@pytest.mark.parametrize("stage", [fewshot, fewshot_affines])
def test_a_target_that_is_too_small_is_skipped_with_the_reason(project: Path, stage: Any) -> None:
    name = stage.__name__.removeprefix("eval.")
    skipped = project / f"results/normal-0/eval/{name}-mine/skipped.json"
    write_params(**{name: SMALL_FEWSHOT | {"shots": [20]}})
    stage.main(ARGUMENTS)
    found = read_json(skipped)
    assert found["status"] == "SKIPPED-DATA"
    assert "0 of 2 classes have 22 images, expected at least 2 for 2-way 20-shot with 2 queries" in found["reason"]


def test_startups_images_are_four_fifths_of_all_whatever_their_class(project: Path) -> None:
    pack = open_pack("data/packs/mine.safetensors")
    everything, every_label = fewshot.benchmark_images(pack, "all", 0)
    images, labels = fewshot.benchmark_images(pack, "startup", 0)
    assert every_label.bincount().tolist() == [16, 16]
    assert len(labels) == 26, "a fifth of 32, rounded, is left out"
    assert labels.bincount().tolist() != [13, 13], "not a share of each class"
    kept = {image.numpy().tobytes() for image in images}
    assert len(kept) == 26
    assert kept < {image.numpy().tobytes() for image in everything}
