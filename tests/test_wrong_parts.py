"""A training and an evaluation refuse what is not theirs: packs, weights, resume states and handovers of another."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from seal.checkpoint import State
from seal.config import load_params
from seal.data import fetch, packing
from seal.errors import UserError
from seal.record import read_json, write_json
from seal.train import run_stage
from tests.small import small_arm
from tests.small_project import ARMS, write_params

PACK = Path("data/packs/mine.safetensors")
WEIGHTS = Path("results/normal-0/weights/gen-01.safetensors")
HANDOVER = Path("results/normal-0/handover.safetensors")
SPLIT = {"source": "folder", "path": "images", "image_size": 8, "split": {"test": 0.5, "val": 0.25}}


def evaluate() -> None:
    from eval import prediction_depth

    prediction_depth.main(["--run", "normal-0"])


def refused(command: Callable[[], object], words: str) -> None:
    with pytest.raises(SystemExit, match=words) as caught:
        command()
    assert "\n" not in str(caught.value)
    assert not [*Path("results/normal-0").glob("eval/*")], "nothing is recorded"


def another_split() -> None:
    write_params(datasets={"mine": SPLIT})


def another_source() -> None:
    """All else is as it is packed."""
    write_params(datasets={"mine": SPLIT | {"source": "eurosat", "split": {"test": 0.25, "val": 0.25}}})


def another_split_packed() -> None:
    another_split()
    fetch.main(["mine"])
    packing.main(["mine"])


def another_datasets_pack() -> None:
    other = SPLIT | {"split": {"test": 0.25, "val": 0.25}}
    write_params(datasets={"mine": other, "other": other})
    fetch.main(["other"])
    packing.main(["other"])
    shutil.copy("data/packs/other.safetensors", PACK)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (another_split, "packed with another split than datasets.mine has now; run `dvc repro pack@mine`"),
        (another_source, "packed with another source than datasets.mine has now; run `dvc repro pack@mine`"),
        (another_split_packed, r"found sha256 .*, on which normal-0 was trained; `dvc repro` trains it anew"),
        (another_datasets_pack, "found the pack of other; run `dvc repro -f pack@mine`"),
    ],
)
def test_an_evaluation_sees_what_the_network_was_trained_on(
    project: Path, change: Callable[[], None], words: str
) -> None:
    change()
    refused(evaluate, words)


@pytest.mark.parametrize("change", [another_split, another_source, another_datasets_pack])
def test_a_training_sees_what_its_parameters_choose(project: Path, change: Callable[[], None]) -> None:
    change()
    with pytest.raises(UserError, match=r"data/packs/mine.safetensors: (packed with another|found the pack of)"):
        run_stage("seal-0", load_params())


def test_a_training_goes_on_from_a_base_of_its_own_images(project: Path) -> None:
    """The split's images are packed anew, as the parameters now choose, and the base is the old one."""
    another_split_packed()
    with pytest.raises(UserError, match=r"normal-0: generation 1 was trained on images of .*`dvc repro base@0`"):
        run_stage("seal-0", load_params())
    assert not Path("results/seal-0").exists()


def changed_tensors(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    path.unlink()
    save_file(tensors, path)


def halved(tensors: dict[str, torch.Tensor]) -> None:
    tensors["fc.weight"] = tensors["fc.weight"].half()


DAMAGES: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "a number that is none": (lambda tensors: tensors["fc.weight"][0].fill_(torch.nan), "fc.weight: found numbers"),
    "an infinite one": (lambda tensors: tensors["fc.bias"][0].fill_(-torch.inf), "fc.bias: found numbers that are not"),
    "half precision": (halved, r"fc.weight: found torch.float16 .*, expected torch.float32"),
    "a tensor less": (lambda tensors: tensors.pop("conv1.weight"), "no network of these parameters: conv1.weight"),
    "no classifier": (lambda tensors: tensors.pop("fc.bias"), "no network of these parameters: fc.bias"),
    "a tensor more": (lambda tensors: tensors.update(x=torch.zeros(1)), "no network of these parameters: x"),
    "another shape": (lambda tensors: tensors.update({"conv1.weight": torch.zeros(2)}), "conv1.weight: found"),
    "a scalar": (lambda tensors: tensors.update({"fc.bias": torch.zeros(())}), "fc.bias: found"),
    "another run's numbers": (lambda tensors: tensors["conv1.weight"].mul_(2), "found weights of norm"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_weights_that_are_not_the_runs_are_refused(project: Path, damage: str) -> None:
    change, words = DAMAGES[damage]
    changed_tensors(WEIGHTS, change)
    refused(evaluate, f"{WEIGHTS}.*{words}")


@pytest.mark.parametrize("length", [0, 7, 100, 2000])
def test_weights_that_are_cut_off_are_refused(project: Path, length: int) -> None:
    content = WEIGHTS.read_bytes()
    WEIGHTS.unlink()
    WEIGHTS.write_bytes(content[:length])
    refused(evaluate, "not a whole safetensors file")


def test_the_handover_is_the_base_runs_own(project: Path) -> None:
    state = State.load(HANDOVER)
    assert (state.run, state.threads) == (None, None), "what depends on the machine is in no output of a stage"
    state.generations[0]["test_accuracy"] = 0.123
    state.save(HANDOVER)
    with pytest.raises(UserError, match=r"handover.safetensors: not the end of normal-0.*`dvc repro base@0`"):
        run_stage("seal-0", load_params())


def test_a_handover_that_is_not_finite_is_refused(project: Path) -> None:
    state = State.load(HANDOVER)
    state.model["fc.weight"][0] = torch.nan
    state.save(HANDOVER)
    with pytest.raises(UserError, match=r"handover.safetensors: fc.weight: found numbers that are not finite"):
        run_stage("seal-0", load_params())


def scratch(run: str) -> Path:
    (state,) = Path("scratch").glob(f"{run}-*/state.safetensors")
    return state


@pytest.fixture
def trained(project: Path) -> Path:
    run_stage("seal-0", load_params())
    return scratch("seal-0")


def test_another_runs_resume_state_is_refused(trained: Path) -> None:
    run_stage("llf-0", load_params())
    shutil.copy(scratch("llf-0"), trained)
    with pytest.raises(UserError, match=r"found the resume state of llf-0, expected seal-0's; delete it"):
        run_stage("seal-0", load_params())


@pytest.mark.parametrize(
    ("name", "number", "place"),
    [
        ("fc.weight", torch.nan, {"generation": 3, "epoch": 0, "batch": 0}),
        ("conv1.weight", torch.inf, {"generation": 3, "epoch": 0, "batch": 0}),
        ("layer3.0.bn1.running_var", torch.inf, {"generation": 3, "epoch": 2}),
        ("bn1.running_mean", torch.nan, {"generation": 3, "epoch": 2}),
    ],
)
def test_a_resume_state_that_is_not_finite_goes_on_to_its_divergence_which_advice_makes_a_result(
    trained: Path, name: str, number: float, place: dict[str, int]
) -> None:
    state = State.load(trained)
    state.model[name][0] = number
    state.save(trained)
    write_params(generations={"num_generations": 3})
    for _ in range(2):
        with pytest.raises(UserError, match=r"seal-0: .* is not finite\b.*keep it by `on_divergence: record`"):
            run_stage("seal-0", load_params())

    recorded = {"seal": small_arm("seal", on_divergence="record")}
    write_params(generations={"num_generations": 3}, arms=ARMS | recorded)
    run_stage("seal-0", load_params())
    summary = read_json(Path("results/seal-0/summary.json"))
    assert summary["diverged"] == place
    assert [outcome["generation"] for outcome in summary["outcomes"]] == [1, 2]


def test_another_networks_resume_state_is_refused_without_a_word_of_dvc(trained: Path) -> None:
    state = State.load(trained)
    state.model["fc.bias"] = torch.zeros(5)
    state.save(trained)
    with pytest.raises(UserError, match=r"fc.bias: found torch.float32 \(5,\), expected .*; delete it to begin anew$"):
        run_stage("seal-0", load_params())


def test_a_training_of_one_backend_does_not_go_on_by_another(trained: Path) -> None:
    write_params(generations={"num_generations": 3}, runtime={"optimizer_backend": "cpu"})
    with pytest.raises(UserError, match=r"found a state made by optimizer_backend reference, expected cpu as here"):
        run_stage("seal-0", load_params())


def test_a_resume_state_of_nothing_is_refused(trained: Path) -> None:
    tensors = load_file(trained)
    for metadata in (None, {"state": "{"}, {"state": "[]"}, {"state": '{"clock": {"x": 1}}'}):
        save_file(tensors, trained, metadata)
        with pytest.raises(UserError, match=r"no resume state of this version .*; delete it and run again"):
            run_stage("seal-0", load_params())


def test_a_run_goes_on_with_the_threads_that_it_began_with(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State.load(trained)
    assert (state.run, state.threads) == ("seal-0", torch.get_num_threads())
    assert state.threads is not None
    state.threads += 1
    state.save(trained)
    with pytest.raises(UserError, match=rf"trained with {state.threads} threads .* or SEAL_MIXED_THREADS=1 to mix"):
        run_stage("seal-0", load_params())
    monkeypatch.setenv("SEAL_MIXED_THREADS", "1")
    run_stage("seal-0", load_params())


def test_an_evaluation_of_other_data_is_no_evidence_later(project: Path) -> None:
    from seal.runs import Runs

    evaluate()
    path = Path("results/normal-0/eval/prediction_depth/gen-01.json")
    write_json(path, read_json(path) | {"data_sha256": "0" * 64})
    assert "data_sha256" in Runs.read([Path("results")]).broken["normal-0"]
