"""Packing in parallel, interrupted, killed, on a full disk: the same bytes in the end, or no pack."""

import errno
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from filelock import FileLock
from safetensors import safe_open
from safetensors.numpy import save_file

from seal.data import decoding, download, writing
from seal.data.archives import DataError, Member
from seal.data.pack import open_pack
from seal.data.places import Places
from seal.sections import Dataset, SplitFractions
from tests.fixtures_data import (
    OFFICIAL,
    TAR,
    image_bytes,
    leftovers,
    make,
    make_tiny,
    places,
    small_source,
    tiny_imagenet_files,
    write_tar,
)  # fmt: skip
from tests.waiting import wait_until

__all__ = ["places", "small_source"]

pytestmark = pytest.mark.usefixtures("small_source")


def test_packing_twice_gives_the_same_bytes_whatever_the_workers(places: Places, monkeypatch) -> None:
    monkeypatch.setattr(decoding, "BYTES_PER_WORKER", 1)
    monkeypatch.setattr(decoding, "CHUNK", 5)
    digests = {make_tiny(places, workers=workers).sha256 for workers in (1, 3, 2)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1] * 12, [5, 5, 2]),
        ([10] * 3 + [1] * 7, [1, 1, 1, 5, 2]),
        ([4, 4, 4, 4], [3, 1]),
        ([1, 1, 50, 1], [3, 1]),
        ([0] * 6, [5, 1]),
        ([], []),
    ],
    ids=["small", "large first", "middling", "one large", "unreadable", "none"],
)
def test_a_chunk_ends_by_its_bytes_too(sizes: list[int], expected: list[int], monkeypatch) -> None:
    monkeypatch.setattr(decoding, "CHUNK", 5)
    monkeypatch.setattr(decoding, "CHUNK_BYTES", 10)
    files = [Member(str(number), size, "x.zip", partial(bytes, size)) for number, size in enumerate(sizes)]
    chunks = [*decoding._chunks(files)]
    assert [len(chunk) for chunk in chunks] == expected
    assert [name for chunk in chunks for name, _ in chunk] == [file.name for file in files]


class Stop(Exception):
    pass


def stop_after(count: int):
    def report(done: int, total: int) -> None:
        if done >= count:
            raise Stop

    return report


def test_an_interrupted_pack_goes_on_and_is_the_same(places: Places, monkeypatch) -> None:
    monkeypatch.setattr(decoding, "CHUNK", 4)
    whole = make_tiny(places).sha256
    (places.downloads.parent / "packs/tiny.safetensors").unlink()
    with pytest.raises(Stop):
        make(places, report=stop_after(13))
    assert leftovers(places) == []
    partial = next((places.downloads.parent / "scratch/pack-tiny").glob("rows-*"))
    with partial.open("ab") as file:
        file.write(b"half a row")
    first: list[int] = []
    made = make(places, report=lambda done, total: first.append(done))
    assert first[0] == 16
    assert made.sha256 == whole
    assert not list(partial.parent.glob("rows-*"))


def test_other_inputs_do_not_go_on_where_these_stopped(places: Places, monkeypatch) -> None:
    monkeypatch.setattr(decoding, "CHUNK", 4)
    with pytest.raises(Stop):
        make_tiny(places, report=stop_after(13))
    first: list[int] = []
    smaller = OFFICIAL.model_copy(update={"image_size": 4})
    make_tiny(places, dataset=smaller, report=lambda done, total: first.append(done))
    assert first[0] == 0


KILLED = """
import os, signal, sys, multiprocessing
from pathlib import Path
from seal.sections import Dataset, SplitFractions
from seal.data import decoding, packing
from seal.data.fetch import fetch
from seal.data.places import Places, relocate
decoding.BYTES_PER_WORKER, decoding.CHUNK = 1, 8

def report(done, total):
    if done >= int(sys.argv[2]):
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

def main():
    here = Path(sys.argv[1])
    data = Dataset(source="folder", image_size=8, split=SplitFractions(test=0.2, val=0.1), path=str(here / "images"))
    places = Places(None, here / "archives")
    record = fetch("mine", data, places, lambda *report: None)
    target = here / "packs/mine.safetensors"
    arguments = target, "mine", data, record, relocate(record, data, places)
    packing.make_pack(*arguments, scratch=here / "scratch", workers=2, report=report)

if __name__ == "__main__":
    main()
"""


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_killed_pack_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    for index in range(80):
        path = tmp_path / f"images/{'ab'[index % 2]}/{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(index))
    (tmp_path / "killed.py").write_text(KILLED)

    def run(kill_after: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(tmp_path / "killed.py"), str(tmp_path), str(kill_after)]
        environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)

    killed = run(24)
    assert killed.returncode == -9, killed.stderr
    workers = [int(pid) for pid in killed.stdout.split()]
    assert len(workers) == 2
    assert not (tmp_path / "packs").exists()
    assert next((tmp_path / "scratch/pack-mine").glob("rows-*")).stat().st_size == 24 * 8 * 8 * 3
    wait_until(lambda: all(ended(pid) for pid in workers), seconds=20)
    assert run(1000).returncode == 0
    resumed = open_pack(tmp_path / "packs/mine.safetensors").sha256
    (tmp_path / "packs/mine.safetensors").unlink()
    data = Dataset(
        source="folder", image_size=8, split=SplitFractions(test=0.2, val=0.1), path=str(tmp_path / "images")
    )  # fmt: skip
    assert make(Places(None, tmp_path / "archives"), data, "mine").sha256 == resumed


def test_a_pack_is_what_the_librarys_own_writer_makes(places: Places, tmp_path: Path) -> None:
    made = make_tiny(places)
    with safe_open(made.path, framework="np") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(tensors, tmp_path / "again.safetensors", metadata)
    assert (tmp_path / "again.safetensors").read_bytes() == made.path.read_bytes()


def test_what_is_bad_is_known_after_an_interruption_too(places: Places, monkeypatch) -> None:
    monkeypatch.setattr(decoding, "CHUNK", 4)
    files = tiny_imagenet_files()
    files["tiny-imagenet-200/train/n00000000/images/n00000000_1.JPEG"] = b"no image"
    skipping = OFFICIAL.model_copy(update={"bad_images": "skip"})
    whole = make_tiny(places, files, dataset=skipping)
    assert whole.provenance["bad"] == {"n00000000": 1}
    expected = whole.sha256
    whole.path.unlink()
    with pytest.raises(Stop):
        make(places, skipping, report=stop_after(13))
    partial = next((places.downloads.parent / "scratch/pack-tiny").glob("bad-*"))
    with partial.open("a") as file:
        file.write('[99, "half')
    assert make(places, skipping).sha256 == expected


def test_a_second_process_waits(places: Places) -> None:
    write_tar(places.mirror / TAR, tiny_imagenet_files())
    (places.downloads.parent / "scratch/pack-tiny").mkdir(parents=True)
    with FileLock(places.downloads.parent / "scratch/pack-tiny/lock"):
        thread = threading.Thread(target=make, args=(places,))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert leftovers(places) == []
    thread.join(30)
    assert leftovers(places) == ["tiny.safetensors"]


def test_damage_in_a_worker_names_the_file_too(places: Places, monkeypatch) -> None:
    monkeypatch.setattr(decoding, "BYTES_PER_WORKER", 1)
    files = tiny_imagenet_files()
    files["tiny-imagenet-200/train/n00000001/images/n00000001_3.JPEG"] = b"no image"
    with pytest.raises(DataError, match=r"n00000001_3\.JPEG: not an image"):
        make_tiny(places, files, workers=2)


def test_a_full_disk_is_found_before_the_work(places: Places, monkeypatch) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(DataError, match=r"pack-tiny: found 0\.0 MB free, expected 0\.0 MB; make room"):
        make_tiny(places)
    assert leftovers(places) == []


@pytest.mark.parametrize(
    ("module", "function"), [(decoding, "_decode"), (writing, "_write")], ids=["decoding", "writing"]
)
def test_a_disk_that_fills_up_leaves_no_pack(places: Places, monkeypatch, module: ModuleType, function: str) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, function, fail)
    with pytest.raises(DataError, match="the disk is full; make room and run again"):
        make_tiny(places)
    assert leftovers(places) == []
