"""A training that is interrupted, anywhere and again, goes on to the bits of the uninterrupted one.

That each method does so in each of its phases is test_relearning.py's.
"""

import errno
import tempfile
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from seal.checkpoint import CheckpointError, State
from seal.methods import METHODS
from seal.resume import resume_key
from seal.scratch import held, scratch_folder
from tests.small import BATCHES, contents, small_run, train_small
from tests.strategies import run_with

ALL_BATCHES = 2 * 3 * BATCHES  # of generations and their epochs


@cache
def uninterrupted(method: str, schedule: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        train_small(small_run(method, schedule=schedule), Path(folder))
        return contents(Path(folder))


@settings(max_examples=10)
@given(
    method=st.sampled_from(list(METHODS)),
    points=st.lists(st.integers(0, ALL_BATCHES - 1), min_size=1, max_size=3),
    every=st.integers(1, 4),
    schedule=st.sampled_from(["per_generation", "one_cosine"]),
)
def test_interrupted_equals_uninterrupted(method: str, points: list[int], every: int, schedule: str) -> None:
    run = small_run(method, schedule=schedule)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for point in points:
            with suppress(KeyboardInterrupt):  # none where what was left is shorter than the point
                train_small(run, folder, at=point, resume_every=every)
        train_small(run, folder, resume_every=every)
        assert contents(folder) == uninterrupted(method, schedule), "weights, momentum, best, history and predictions"


def test_an_interruption_loses_at_most_the_epochs_since_the_last_resume_point(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_small(small_run(), tmp_path, at=4 * BATCHES + 1, resume_every=2)
    clock = State.load(tmp_path / "state.safetensors").clock
    assert clock is not None
    assert (clock.generation, clock.epoch) == (2, 0), "every second epoch and each generation's end is kept"


@pytest.mark.parametrize("method", ["seal", "llf"])
def test_raising_the_number_of_generations_trains_the_new_ones_only(tmp_path: Path, method: str) -> None:
    train_small(small_run(method, num_generations=1), tmp_path)
    train_small(small_run(method), tmp_path, at=3 * BATCHES)  # interrupted if it trained more than three epochs
    assert contents(tmp_path) == uninterrupted(method, "per_generation")


def test_a_damaged_resume_state_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(CheckpointError, match=r"not a whole safetensors file.*delete it and run again"):
        State.load(path)


def test_a_missing_checkpoint_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"handover.safetensors: not found; `dvc repro base@7` makes it"):
        State.load(tmp_path / "results/normal-7/handover.safetensors")


def test_a_scratch_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(CheckpointError, match=r"Not a directory, expected a folder .* by SEAL_SCRATCH"),
        held(tmp_path / "file/x"),
    ):
        pass


def test_a_scratch_folder_is_named_by_modules_and_not_by_what_an_editor_leaves_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seal.scratch.__file__", str(tmp_path / "seal/scratch.py"))
    methods = tmp_path / "seal/methods"
    for name in ("a.py", "b.py"):
        write(methods / name, name)
    hashed = sha256(b"{}a.pyb.py").hexdigest()
    assert scratch_folder("seal-0", {}, ["seal/methods"]).name == f"seal-0-{hashed[:16]}"

    for name in (".a.py.swp", "a.py~", ".ipynb_checkpoints/a-checkpoint.py", "__pycache__/a.cpython-311.pyc"):
        write(methods / name, "left")
    (methods / ".#a.py").symlink_to("a lock of emacs that points nowhere")
    assert scratch_folder("seal-0", {}, ["seal/methods"]).name == f"seal-0-{hashed[:16]}"

    write(methods / "package/c.py", "code")
    assert scratch_folder("seal-0", {}, ["seal/methods"]).name != f"seal-0-{hashed[:16]}"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_full_disk_is_the_systems_error_whoever_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("seal.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        State().save(tmp_path / "state.safetensors")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_a_second_trainer_in_one_folder_is_refused(tmp_path: Path) -> None:
    with (
        held(tmp_path / "run"),
        pytest.raises(CheckpointError, match="another process is training"),
        held(tmp_path / "run"),
    ):
        pass
    with held(tmp_path / "run"):
        pass


def test_a_resume_state_outlives_what_changes_nothing_of_it() -> None:
    def key(**changes: object) -> object:
        return resume_key(run_with("normal_long", **changes).facts())

    assert key(num_generations=2) == key(num_generations=3)
    assert key(num_generations=2, schedule="one_cosine") != key(num_generations=3, schedule="one_cosine")
    assert key(kept_generations=[1]) == key(kept_generations=[2])
    assert key(on_divergence="fail") == key(on_divergence="record")
    assert key(schedule="per_generation") != key(schedule="one_cosine")
