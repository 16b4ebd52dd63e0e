"""What a stage costs before it has run, and how many images a dataset has before it is packed."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from seal.config import Params
from seal.data.pack import METADATA, SPLITS
from seal.data.selection import parameters_of
from seal.errors import UserError
from seal.evaluations import EVALUATIONS
from seal.measure import Images, Work
from seal.planning.counts import images_of
from seal.sections import Dataset, SplitFractions
from tests.priced import SIZE, price
from tests.priced import params as params

FRACTIONS = SplitFractions(test=0.2, val=0.1)


def test_training_costs_its_images(params: Params) -> None:
    assert images_of("mnist_5k", params) == Images(3500, 500, 1000, 10)
    base, train = price("base@0", params), price("train@normal_long-0", params)
    assert base.trained == 4 * 3500
    # Validation images each epoch; at the end clean ones twice, and test images by the last and by the best weights.
    assert base.measured == 4 * 500 + 2 * 3500 + 2 * 1000
    assert base.saved == 4 * (3 * 4 * SIZE.parameters), "weights, momentum and best weights, every epoch"
    assert (train.trained, train.measured) == (base.trained, base.measured), "its first generation of two is shared"
    assert price("train@seal-0", params).measured == base.measured + 2 * 3500, "one more phase ends"

    assert price("train@ban-0", params).measured == train.measured + 4 * 3500, "the teacher looks at what is trained on"
    assert price("train@imp-0", params).measured == train.measured
    assert price("train@imp-0", params).saved == 4 * (4 * 4 * SIZE.parameters), "and the last generation's end"

    seal = params.arms["seal"].model_copy(update={"first_ascent_generation": 1})
    at_once = params.model_copy(update={"arms": params.arms | {"seal": seal}})
    both_generations = price("train@seal-0", at_once)
    assert both_generations.trained == 2 * base.trained
    assert both_generations.measured == 2 * (base.measured + 2 * 3500)


def test_an_evaluation_that_is_not_described_has_no_price(params: Params) -> None:
    with pytest.raises(
        UserError, match=r"^stage calibration@seal-0-digits: calibration is no evaluation, expected one of transfer,"
    ):
        price("calibration@seal-0-digits", params)
    with pytest.raises(UserError, match="no such arm"):
        price("prediction_depth@unheard_of-0", params)
    assert price("my_own_stage", params).seconds == 0, "beside the pipeline's runs: its start alone"


@pytest.mark.parametrize("name", EVALUATIONS)
def test_every_evaluation_has_a_price_of_its_own(params: Params, name: str) -> None:
    evaluation = EVALUATIONS[name]
    stage = f"{name}@seal-0-digits" if evaluation.targeted else f"{name}@seal-0"
    images = images_of("digits" if evaluation.targeted else params.source, params)
    assert price(stage, params) == evaluation.cost(getattr(params, name), images, SIZE)


@pytest.mark.parametrize("name", EVALUATIONS)
def test_an_evaluation_of_three_networks_costs_three_times_one_but_for_memory_and_compilers(
    params: Params, name: str
) -> None:
    stage = f"{name}@seal-0-digits" if EVALUATIONS[name].targeted else f"{name}@seal-0"
    kept = params.generations.model_copy(update={"num_generations": 4, "kept_generations": [1, 2, 4]})

    def priced(generations: Any) -> Work:
        section = getattr(params, name).model_copy(update={"generations": generations})
        return price(stage, params.model_copy(update={name: section, "generations": kept}))

    once, all_three = asdict(priced("last")), asdict(priced([1, 2, 3, 4]))
    assert asdict(priced([2])) == once
    for kind, amount in once.items():
        assert all_three[kind] == amount * (1 if kind in ("memory", "compilers") else 3), kind


def test_an_evaluation_of_several_generations_costs_those_that_are_kept(params: Params) -> None:
    def images(run: str, generations: list[int]) -> float:
        section = params.prediction_depth.model_copy(update={"generations": generations})
        return price(f"prediction_depth@{run}", params.model_copy(update={"prediction_depth": section})).seen

    once = 3500 + 1000
    assert params.generations.kept_generations == [2]
    assert images("seal-0", [1, 2, 3]) == once
    assert images("normal-0", [1, 2]) == once, "a base has its first generation alone"
    assert images("seal-0", [1]) == 0


@pytest.mark.parametrize(
    ("generations", "kept", "asked", "looked_at"),
    [
        (3, [*range(1, 11)], [*range(1, 11)], 3), (10, [1], [1, 10], 2), (10, [1], [2], 0), (2, [2], [1, 2], 1),
        (2, [], [1, 2], 1), (4, [9], [9], 0),
    ],
)  # fmt: skip
def test_what_is_priced_is_what_is_published(
    params: Params, generations: int, kept: list[int], asked: list[int], looked_at: int
) -> None:
    section = params.generations.model_copy(update={"num_generations": generations, "kept_generations": kept})
    depth = params.prediction_depth.model_copy(update={"generations": asked})
    changed = params.model_copy(update={"generations": section, "prediction_depth": depth})
    assert price("prediction_depth@seal-0", changed).seen == looked_at * (3500 + 1000)

    published = {*kept, generations} & {*range(1, generations + 1)}
    assert section.with_weights == published
    copies = len(published) + generations + 3
    assert price("train@seal-0", changed).bytes == copies * 4 * SIZE.parameters
    assert changed.find_run("normal-0").generations.with_weights == {1}


def pack(folder: Path, name: str, selection: dict[str, Any], **counts: int) -> None:
    tensors = {f"{split}/labels": np.zeros(counts.get(split, 0), np.int64) for split in SPLITS}
    metadata = {"status": "present", "provenance": {"source": name, "selection": selection}}
    (folder / "data/packs").mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / f"data/packs/{name}.safetensors", {METADATA: json.dumps(metadata)})


def test_a_pack_counts_only_where_it_holds_what_the_parameters_select(params: Params, tmp_path: Path) -> None:
    selection = parameters_of(params.datasets["mnist_5k"])
    pack(tmp_path, "mnist_5k", selection, train=7, val=2, test=1)
    assert images_of("mnist_5k", params) == Images(7, 2, 1, 10)
    pack(tmp_path, "mnist_5k", selection | {"images_per_class": 3}, train=7)
    assert images_of("mnist_5k", params) == Images(3500, 500, 1000, 10), "another tier's pack"
    (tmp_path / "data/packs/mnist_5k.safetensors").write_bytes(b"cut off")
    assert images_of("mnist_5k", params) == Images(3500, 500, 1000, 10)


@pytest.mark.parametrize(
    ("source", "classes", "split", "expected"),
    [
        ("eurosat", None, FRACTIONS, (18_900, 2700, 5400, 10)),
        ("eurosat", ["River", "Pasture"], FRACTIONS, (3150, 450, 900, 2)),
        ("eurosat", ["River", "River", "SeaLake"], FRACTIONS, (3850, 550, 1100, 2)),
        ("eurosat", 4, FRACTIONS, (8050, 1150, 2300, 4)),  # AnnualCrop, Forest, HerbaceousVegetation, Highway
        ("isic_2018", ["DF"], FRACTIONS, (80, 12, 23, 1)),
        ("digits", 5, FRACTIONS, (628, 90, 180, 5)),  # a half of 1797
        ("stanford_dogs", 12, "official", (1200, 0, 858, 12)),
        ("tiny_imagenet", ["n1", "n2"], "official", (1000, 0, 100, 2)),
    ],
)  # fmt: skip
def test_the_images_of_the_chosen_classes_count(
    params: Params, source: str, classes: list[str] | int | None, split: Any, expected: tuple[int, ...]
) -> None:
    chosen = Dataset(source=source, image_size=64, split=split, classes=classes)
    changed = params.model_copy(update={"datasets": {"mine": chosen}})
    assert images_of("mine", changed) == Images(*expected)


def test_archives_count_until_they_are_there(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEAL_DATA_MIRROR", raising=False)
    by_hand = Dataset(source="chestx_ray8", image_size=64, split="official")
    changed = params.model_copy(update={"datasets": params.datasets | {"xrays": by_hand}})

    def size(name: str) -> float:
        return price(f"fetch@{name}", changed).bytes

    assert size("xrays") == pytest.approx(45e9, rel=0.01)
    assert size("mnist_5k") == 0, "it ships inside a package"
    (tmp_path / "data/archives").mkdir(parents=True)
    (tmp_path / "data/archives/images_001.tar.gz").touch()
    assert size("xrays") == pytest.approx(43e9, rel=0.01)


def test_a_source_that_there_is_not_is_one_line(params: Params) -> None:
    mnist = params.datasets["digits"].model_copy(update={"source": "mnist"})
    changed = params.model_copy(update={"datasets": params.datasets | {"mine": mnist}})
    with pytest.raises(UserError, match="source is mnist, expected one of mnist_5k"):
        price("fetch@mine", changed)
