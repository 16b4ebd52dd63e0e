"""`seal study` under a real DVC: what it keeps, what it skips, and what an edit makes it train again."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seal.errors import UserError
from seal.evidence import read_summary
from seal.record import Tier, read_json, write_json
from seal.sections import NamedModel
from seal.study import study
from seal.study.dvc_repo import Identity
from seal.study.numbers import difference, facts_of
from seal.tiers import tier_params
from tests.small_project import ARMS, write_params
from tests.small_project import dvc_project as dvc_project

ROOT = Path(__file__).parents[1]
IDENTITY = {"base@0": {"params": {"tier": "smoke"}, "code": {"seal/train.py": "aa"}}}


@pytest.mark.parametrize(
    ("own_packs", "kept"),
    [
        ({}, IDENTITY),  # published images, or a folder that is on another machine
        ({"data/packs/a": "bb"}, IDENTITY),
        ({"data/packs/a": "cc"}, {}),
        ({"data/packs/b": "cc"}, IDENTITY),
    ],
)
def test_a_run_is_kept_while_a_users_own_images_stay(tmp_path: Path, own_packs: dict[str, str], kept: Identity) -> None:
    assert study.kept_stages(tmp_path, own_packs) == {}, "nothing is kept"
    write_json(tmp_path / study.STAGES, {"base@0": IDENTITY["base@0"] | {"data": {"data/packs/a": "bb"}}})
    assert study.kept_stages(tmp_path, own_packs) == kept


def identity_of(params: dict[str, object], *stages: str) -> Identity:
    return {stage: {"params": params, "code": {"seal/train.py": "aa"}} for stage in stages}


@pytest.mark.parametrize(
    ("kept", "same"),
    [
        (identity_of({"training": {"epochs": 4, "lr": 0.1}, "tier": "own"}, "base@0"), True),
        (identity_of({"training": {"epochs": 4}}, "base@0", "hessian@normal-0"), True),  # older than two keys
        (identity_of({"training": {"epochs": 4, "lr": 0.3}, "tier": "own"}, "base@0"), False),
        (identity_of({"training": 4, "tier": "own"}, "base@0"), False),
        (identity_of({"training": {"epochs": 4, "lr": 0.1}, "tier": "own"}, "hessian@normal-0"), False),
        ({}, False),
    ],
)
def test_a_run_by_other_code_has_these_parameters_where_all_that_it_tells_are_the_same(
    kept: Identity, same: bool
) -> None:
    wanted = identity_of({"training": {"epochs": 4, "lr": 0.1}, "tier": "own"}, "base@0")
    assert study.has_these_parameters(kept, wanted) == same


STAGE = {"params": {}, "code": {}, "data": {}}


@pytest.mark.parametrize(
    "text",
    ["{", "", "[3]", "3", '{"base@0": 3}', '{"base@0": {"params": {}, "code": {}}}']
    + [json.dumps({"base@0": {key: value for key, value in STAGE.items() if key != lost}}) for lost in STAGE]
    + [json.dumps({"base@0": STAGE | {"data": ["x"]}})],
)
def test_what_a_kept_run_says_of_its_stages_is_checked(tmp_path: Path, text: str) -> None:
    (tmp_path / study.STAGES).write_text(text)
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / study.STAGES}: ")):
        study.kept_stages(tmp_path, {})


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_list_of_folders_that_is_none_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A listing of no folder leaves what lies there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study, "call", lambda *words: None)
    Path("folders.json").write_text(text)
    with pytest.raises(UserError, match=r"^folders\.json: "):
        study.packed_anew()
    Path("folders.json").write_text("{}")
    assert study.packed_anew() == {}


def test_lists_of_episodes_are_kept_once_and_those_that_differ_with_their_run(tmp_path: Path) -> None:
    def keep(run: str, episodes: bytes) -> Path:
        path = tmp_path / run / "eval/fewshot-digits/episodes.npz"
        path.parent.mkdir(parents=True)
        path.write_bytes(episodes)
        study.share_episodes(tmp_path / run, tmp_path / "episodes")
        return path

    first, same, differing = keep("seal-0", b"drawn"), keep("llf-0", b"drawn"), keep("seal-1", b"other")
    assert (tmp_path / "episodes/fewshot-digits.npz").read_bytes() == b"drawn"
    assert not first.exists()
    assert not same.exists()
    assert differing.read_bytes() == b"other"


def test_evaluations_of_an_earlier_tiers_run_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC leaves in results/ what a stage wrote that is there no more."""
    monkeypatch.chdir(tmp_path)
    for name in ("history.csv", "summary.json", "metrics.json", "predictions/gen-01.npz", "eval/hessian/gen-01.json"):
        path = tmp_path / "results/seal-0" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for target in ("digits", "eurosat"):
        shutil.copytree(tmp_path / "results/seal-0/eval/hessian", tmp_path / f"results/seal-0/eval/transfer-{target}")

    study.keep("seal-0", tmp_path / "kept", {"train_extra@seal-0": {}, "transfer_extra@seal-0-digits": {}})
    assert [path.name for path in (tmp_path / "kept/seal-0/eval").iterdir()] == ["transfer-digits"]


def test_a_record_is_replaced_whole_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made beside its place, as a rename crosses no file systems."""
    monkeypatch.chdir(tmp_path)
    for name in ("history.csv", "summary.json", "metrics.json"):
        (tmp_path / "results/seal-0").mkdir(parents=True, exist_ok=True)
        (tmp_path / "results/seal-0" / name).write_text("first")
    (tmp_path / "results/seal-0/predictions").mkdir()
    target = tmp_path / "kept"
    study.keep("seal-0", target, IDENTITY)
    first = (target / "seal-0").stat()

    (tmp_path / "results/seal-0/metrics.json").unlink()
    (tmp_path / "results/seal-0/history.csv").write_text("second")
    with pytest.raises(UserError, match=r"metrics\.json: not found"):
        study.keep("seal-0", target, IDENTITY)
    assert (target / "seal-0").stat() == first
    assert (target / "seal-0/history.csv").read_text() == "first"

    (tmp_path / "results/seal-0/metrics.json").write_text("second")
    study.keep("seal-0", target, IDENTITY)
    assert (target / "seal-0/history.csv").read_text() == "second"
    assert {path.name for path in target.iterdir()} == {"seal-0", "timings"}


def test_times_are_kept_of_the_stages_that_made_a_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage notes them under DVC's name of it; under train@normal-0 stand those of a training by hand."""
    monkeypatch.chdir(tmp_path)
    for name in ("results/normal-0/history.csv", "results/normal-0/summary.json", "results/normal-0/metrics.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("results/normal-0/predictions", "timings"):
        (tmp_path / name).mkdir()
    for stage in ("base@0", "train@normal-0"):
        (tmp_path / f"timings/{stage}.csv").touch()
    study.keep("normal-0", tmp_path / "kept", IDENTITY)
    assert [path.name for path in (tmp_path / "kept/timings").iterdir()] == ["base@0.csv"]


def test_a_run_that_was_replaced_leaves_no_timing_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stages may have been made elsewhere, and pulled."""
    monkeypatch.chdir(tmp_path)
    for name in ("history.csv", "summary.json", "metrics.json", "predictions/gen-01.npz"):
        (tmp_path / "results/seal-0" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "results/seal-0" / name).touch()
    stages = dict.fromkeys(("train@seal-0", "hessian@seal-0", "knn@seal-0", "fewshot@seal-0-digits"), STAGE)
    kept, timings = tmp_path / "kept/timings", tmp_path / "timings"
    timings.mkdir()
    for name in stages:
        (timings / f"{name}.csv").write_text("first")
    study.keep("seal-0", tmp_path / "kept", stages)
    assert {path.stem for path in kept.iterdir()} == {*stages}

    shutil.rmtree(timings)
    timings.mkdir()
    (timings / "hessian@seal-0.csv").write_text("second")
    anew = dict.fromkeys(("train@seal-0", "hessian@seal-0"), STAGE | {"code": {"seal/train.py": "cc"}})
    study.keep("seal-0", tmp_path / "kept", anew | {"fewshot@seal-0-digits": STAGE})
    texts = {path.stem: path.read_text() for path in kept.iterdir()}
    assert texts == {"hessian@seal-0": "second", "fewshot@seal-0-digits": "first"}


def test_a_study_by_other_numbers_does_not_replace_the_kept_one(tmp_path: Path) -> None:
    params = tier_params("regime")
    summary = read_json(ROOT / "expected/mini/normal-1" / study.SUMMARY) | {"tier": "regime"}
    numbers = summary["training"] | params.training.model_dump(mode="json")
    del numbers["channels_last"]
    write_json(tmp_path / "normal-1" / study.SUMMARY, summary | {"training": numbers})
    write_json(tmp_path / "seal-1" / study.SUMMARY, summary | {"training": numbers | {"weight_decay": 1.0}})
    study.refuse_another_base(tmp_path, params)  # an arm's own numbers are its own, and an old record lacks some

    for tier, choices, words in (
        ("regime", "regime_d040", r"weight_decay = 0\.00549, expected 0\.001756; .* --record DIR"),
        ("mini", None, "tier = regime, expected mini"),
    ):
        with pytest.raises(UserError, match=f"normal-1: found a run kept that has {words}"):
            study.refuse_another_base(tmp_path, tier_params(tier, choices))
    wider = params.model_copy(update={"model": params.model.model_copy(update={"width": 64})})
    with pytest.raises(UserError, match="normal-1: found a run kept that has width = 16, expected 64"):
        study.refuse_another_base(tmp_path, wider)
    with pytest.raises(UserError, match="has data = tiny_imagenet, expected digits"):
        study.refuse_another_base(tmp_path, params.model_copy(update={"source": "digits"}))

    (tmp_path / "normal-1" / study.SUMMARY).write_text("{")
    with pytest.raises(UserError, match=r"normal-1/summary\.json: not JSON"):
        study.refuse_another_base(tmp_path, params)


NAMED = NamedModel(network="torchvision:resnet18", options={"zero_init_residual": True})


@pytest.mark.parametrize("tier", ["smoke", "mini", "regime"])
def test_the_committed_studies_are_of_their_own_tiers_parameters_and_of_no_other_network(tier: Tier) -> None:
    """Also their oldest records, which lack sections and keys of today."""
    kept, params = ROOT / "expected" / tier, tier_params(tier)
    study.refuse_another_base(kept, params)
    study.refuse_another_base(kept, params.model_copy(update={"evaluated_arms": [], "seeds": [7]}))
    for path in sorted(kept.glob(f"*/{study.SUMMARY}")):
        arm, _, seed = path.parent.name.rpartition("-")
        facts = facts_of(params, arm, int(seed))
        assert difference(read_summary(path), facts) is None, path

    with pytest.raises(UserError, match=r"that has model = .*'depth'.*, expected .*'torchvision:resnet18'"):
        study.refuse_another_base(kept, params.model_copy(update={"model": NAMED}))


def test_another_network_is_another_training_in_either_direction() -> None:
    named = {
        "model": NAMED.model_dump(),
        "options": {"zero_init_residual": 1},
    }  # the method's number, not the network's
    own = {"model": {"depth": 18, "width": 16}, "options": {}}
    older = {"model": {"depth": 18}}
    assert difference(own, named) == ("model", own["model"], named["model"])
    assert difference(named, own) == ("model", named["model"], own["model"])
    assert difference(named, older) is not None
    assert difference(older, own) is None
    assert difference(own, older) is None
    assert difference(named, named | {"model": {"network": "torchvision:resnet18"}}) is None, "older than options"

    for model in ({"network": "torchvision:resnet34"}, NAMED.model_dump() | {"options": {}}):
        other = difference(named, named | {"model": model})
        assert other is not None
        assert other.key in ("network", "options")
    assert difference(named, named | {"options": {"zero_init_residual": 2}}) == ("zero_init_residual", 1, 2)


def test_numbers_of_a_method_are_the_same_in_either_of_their_sections() -> None:
    old = {"generations": {"num_generations": 2, "ascent_epochs": 3, "retired": 1}, "method": "seal"}
    new = {"generations": {"num_generations": 2, "checkpoint": "last"}, "options": {"ascent_epochs": 3}}
    assert difference(old, new) is None
    assert difference(old, new | {"options": {"ascent_epochs": 4}}) == ("ascent_epochs", 3, 4)
    assert difference(new, new | {"generations": {"checkpoint": "best"}}) == ("checkpoint", "last", "best")
    assert difference(old, {"method": "llf"}) == ("method", "seal", "llf")
    assert difference({"data_sha256": "a", "data": "x"}, {"data_sha256": "a", "data": "y"}, "data_sha256") is None


@pytest.fixture
def studied(project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Makes the study and gives what it and its stages print; verdicts and report only where they are `judged`."""
    call = study.call

    def made(judged: bool = False) -> str:
        chosen = call if judged else lambda *words: None if words[0].startswith("eval.") else call(*words)
        monkeypatch.setattr(study, "call", chosen)
        study.study()
        return "".join(capfd.readouterr())

    return made


@pytest.mark.slow
def test_a_second_study_skips_and_an_edited_parameter_does_not(project: Path, studied: Callable[..., str]) -> None:
    short = {"epochs_per_generation": 4}
    write_params(training=short, main_arms=["seal"])
    assert "normal-0: kept" in studied()
    kept = project / "expected/smoke/seal-0"
    assert not list(kept.rglob("*.safetensors"))
    assert set(read_json(kept / study.STAGES)) == {"train@seal-0"}

    write_params(training=short, main_arms=["seal"], arms=ARMS | {"seal": ARMS["seal"] | {"ascent_lr_scale": 0.25}})
    output = studied()
    assert "normal-0: skipped" in output
    assert "seal-0: kept" in output

    for name in (".dvc/cache", "results", "timings"):  # as on a fresh clone
        shutil.rmtree(project / name)
    output = studied(judged=True)
    assert "normal-0: skipped" in output
    assert "seal-0: skipped" in output
    assert "epoch" not in output
    assert {"claims.json", "report"} <= {path.name for path in kept.parent.iterdir()}

    by_other_code = read_json(kept / study.STAGES)
    by_other_code["train@seal-0"]["code"]["seal/train.py"] = "as it was"
    write_json(kept / study.STAGES, by_other_code)
    output = studied()
    assert "seal-0: skipped, expected/smoke/seal-0 has these parameters, by other code" in output
    assert "epoch" not in output
    assert read_json(kept / study.STAGES) == by_other_code, "a kept study is not replaced"


@pytest.mark.slow
def test_a_folder_that_has_changed_is_studied_anew_and_one_that_is_elsewhere_skipped(
    studied: Callable[..., str],
) -> None:
    write_params(training={"epochs_per_generation": 1}, main_arms=[])
    assert "normal-0: kept" in studied()
    shutil.copy("images/cat/1.png", "images/cat/0.png")
    assert "normal-0: kept" in studied()
    shutil.move("images", "elsewhere")
    assert "normal-0: skipped" in studied()


def test_a_seed_that_is_not_in_the_parameters_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params()
    with pytest.raises(UserError, match=r"found --seed 7, expected one of params\.yaml's: 0"):
        study.study(7)


def test_a_record_kept_in_another_folder_than_the_tiers_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params()
    made: list[Path] = []
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(study, "stages_by_run", dict)
    monkeypatch.setattr(study, "packed_anew", dict)
    monkeypatch.setattr(study, "make", lambda stages, target, own_packs: made.append(target))
    monkeypatch.setattr(study, "call", lambda *arguments: called.append(arguments))
    study.study(record=Path("expected/longer"))
    assert made == [Path("expected/longer")]
    assert not called, "what may be a sweep's is not judged as the tier's study"
    assert "`seal report --record expected/longer`" in capsys.readouterr().out

    study.study(record=Path("expected/smoke").absolute())
    assert len(called) == 2, "it is the tier's own, however it is written"
    called.clear()
    study.study()
    assert [arguments[:3] for arguments in called] == [
        ("eval.claims", "--record", "expected/smoke"), ("eval.report", "--record", "expected/smoke"),
    ]  # fmt: skip
