"""A reader on another kind of machine is told, in a line, that bits differ; on the same kind nothing is said."""

from pathlib import Path

import pytest

from seal.study import machine
from tests.invented_records import write_timings

XEON, EPYC = "2 x Intel(R) Xeon(R) Processor @ 2.80GHz", "4 x AMD EPYC"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_timings(Path("expected/smoke/timings"), "base@0", (XEON, "2"))
    write_timings(Path("expected/smoke/timings"), "train@seal-0", (XEON, "2"))
    return tmp_path


RUNS = ["normal-0", "seal-0"]


@pytest.mark.parametrize(
    ("cpu", "threads", "words"),
    [
        (XEON, "2", None),
        (XEON.replace("2 x", "96 x"), "2", None),  # how many cores there are changes no bit
        (
            EPYC,
            "2",
            "normal-0 was trained on AMD EPYC with 2 threads, in expected/smoke on "
            "Intel(R) Xeon(R) Processor @ 2.80GHz with 2 threads, and 1 more: ",
        ),
        (
            XEON,
            "1",
            "normal-0 was trained on Intel(R) Xeon(R) Processor @ 2.80GHz with 1 thread, in expected/smoke on ",
        ),
    ],
)
def test_another_processor_or_number_of_threads_is_said(here: Path, cpu: str, threads: str, words: str | None) -> None:
    write_timings(Path("timings"), "base@0", (EPYC, "8"), (cpu, threads))  # the last row is what made the record
    write_timings(Path("timings"), "train@seal-0", (cpu, threads))
    write_timings(Path("timings"), "train@seal-7", (EPYC, "64"))  # no run of these parameters
    write_timings(Path("timings"), "transfer@seal-0-digits", (EPYC, "64"))  # no training
    for stage in ("hessian@seal-0", "prediction_depth@normal-0", "hessian_extra@seal-0"):
        write_timings(Path("timings"), stage, (EPYC, "64"))  # nor these, of the runs alone
    said = machine.difference("smoke", RUNS)
    assert said is None if words is None else said is not None and said.startswith(words)
    assert said is None or said.endswith("`seal compare expected/smoke` says whether values agree")


def test_runs_are_held_against_their_own_machines(here: Path) -> None:
    """A study made on two kinds of machine differs from neither where each run is made on its own."""
    write_timings(Path("expected/smoke/timings"), "train@seal-0", (EPYC, "1"))
    write_timings(Path("timings"), "train@seal-0", (EPYC, "1"))
    write_timings(Path("timings"), "base@0", (XEON, "2"))
    assert machine.difference("smoke", RUNS) is None

    write_timings(Path("timings"), "train@seal-0", (XEON, "2"))
    write_timings(Path("timings"), "base@0", (EPYC, "1"))
    assert (machine.difference("smoke", RUNS) or "").startswith("normal-0 was trained on AMD EPYC")


@pytest.mark.parametrize("tier", ["smoke", "paper"])
def test_without_timings_on_one_side_nothing_is_known(here: Path, tier: str) -> None:
    if tier == "paper":
        write_timings(Path("timings"), "base@0", (XEON, "2"))
    assert machine.difference(tier, RUNS) is None


@pytest.mark.parametrize(
    ("stage", "run"),
    [
        ("base@0", "normal-0"), ("train@seal-0", "seal-0"), ("train_extra@seal-0", "seal-0"),
        ("train_sensitivity@seal-0", "seal-0"),
    ],
)  # fmt: skip
def test_a_training_counts_whichever_list_its_arm_is_in(here: Path, stage: str, run: str) -> None:
    write_timings(Path("timings"), stage, (EPYC, "64"))
    assert machine.machines(Path("timings"), {*RUNS}) == {run: machine.Machine("AMD EPYC", "64")}
