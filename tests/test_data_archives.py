"""Archives read in place: every kind gives back what was written, and nothing harmful or damaged passes."""

import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal.data import archives
from seal.data.archives import DataError, open_archives, open_table
from seal.data.folders import open_folder
from tests.fixtures_data import write_tar, write_zip

FILES = {"a/one.txt": b"1" * 700, "a/b/two.bin": bytes(range(256)), "three": b""}

parts = st.text("abcXYZ019._-é ", min_size=1, max_size=8).filter(lambda part: part.strip(". "))
names = st.lists(parts, min_size=1, max_size=3).map("/".join)
contents = st.dictionaries(names, st.binary(max_size=600), min_size=1, max_size=6)


def read_all(*paths: Path) -> dict[str, bytes]:
    with open_archives(paths) as members:
        return {name: bytes(member.read()) for name, member in members.items()}


@given(files=contents, kind=st.sampled_from(["zip", "", "gz", "xz"]))
def test_every_kind_of_archive_reads_back_what_was_written(tmp_path_factory, files, kind) -> None:
    path = tmp_path_factory.mktemp("archive") / "named.anything"
    write_zip(path, files) if kind == "zip" else write_tar(path, files, kind)
    assert read_all(path) == files


def test_several_archives_are_one_name_space(tmp_path: Path) -> None:
    first, second = write_zip(tmp_path / "1", {"a": b"1"}), write_tar(tmp_path / "2", {"b": b"2"}, "gz")
    assert read_all(first, second) == {"a": b"1", "b": b"2"}


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", {"x": b"y"}).read_bytes()
    assert read_all(write_tar(tmp_path / "outer.tar", {"inner.zip": inner})) == {"inner.zip": inner}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "..\\x", "C:\\x", "\\\\host\\share\\x"])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_path_outside_the_folder_is_refused(tmp_path: Path, name: str, write) -> None:
    with pytest.raises(DataError, match=r"archive: .* points outside"):
        read_all(write(tmp_path / "archive", {"ok": b"", name: b"evil"}))


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_line_break_in_a_name_is_refused(tmp_path: Path, write) -> None:
    with pytest.raises(DataError, match="line break"):
        read_all(write(tmp_path / "archive", {"a\nb": b""}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        info = tarfile.TarInfo("pointer")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match=r"bad\.tar: pointer is a link or a device"):
        read_all(tmp_path / "bad.tar")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        info = zipfile.ZipInfo("pointer")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match=r"bad\.zip: pointer is a link"):
        read_all(tmp_path / "bad.zip")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "UNPACKED_FLOOR", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1_000_000))
    with pytest.raises(DataError, match=r"bomb\.zip: .* claim to unpack to more than"):
        read_all(tmp_path / "bomb.zip")
    # A header that claims a petabyte, with nothing behind it.
    info = tarfile.TarInfo("zeros")
    info.size = 10**15
    (tmp_path / "bomb.tar").write_bytes(gzip.compress(info.tobuf() + bytes(10_240)))
    with pytest.raises(DataError, match=r"bomb\.tar: .* claim to unpack to more than"):
        read_all(tmp_path / "bomb.tar")


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", FILES)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"1" * 700) + 3] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"data\.zip: a/one\.txt is damaged.*CRC"):
        read_all(path)


@pytest.mark.parametrize("write", [write_zip, write_tar, lambda path, files: write_tar(path, files, "gz")])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_cut_archive_is_an_error(tmp_path: Path, write, kept: float) -> None:
    files = {f"{index}": np.random.default_rng(index).bytes(5000) for index in range(20)}
    path = write(tmp_path / "data", files)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DataError, match=r"data: .*damaged"):
        read_all(path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK but no zip", lzma.compress(b"no tar")])
def test_what_is_no_archive_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.zip: damaged, or neither zip nor tar"):
        read_all(tmp_path / "data.zip")


def test_a_folder_lists_its_class_folders(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/2.png", "dog/deep/3.png", "readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    with open_folder([tmp_path]) as members:
        assert {name: member.read() for name, member in members.items()} == {
            "cat/1.png": b"cat/1.png",
            "dog/2.png": b"dog/2.png",
        }


def table(path: Path, rows: list[list[int]]) -> Path:
    path.write_bytes(gzip.compress("".join(",".join(map(str, row)) + "\n" for row in rows).encode()))
    return path


def test_a_table_scales_grey_levels_and_names_rows(tmp_path: Path) -> None:
    with open_table([table(tmp_path / "t.csv.gz", [[0, 8, 16, 1, 7], [16, 0, 0, 0, 3]])], side=2, white=16) as members:
        assert list(members) == ["7/00000", "3/00001"]
        assert np.array_equal(members["7/00000"].read(), [[0, 128], [255, 16]])
        assert np.array_equal(members["3/00001"].read(), [[255, 0], [0, 0]])


@pytest.mark.parametrize("rows", [[[0, 1, 2, 3]], [[0, 0, 0, 17, 1]], [[0, 0, 0, 300, 1]], [[0] * 5, [0] * 4]])
def test_a_table_of_another_shape_or_range_is_an_error(tmp_path: Path, rows: list[list[int]]) -> None:
    path = table(tmp_path / "t.csv.gz", rows)
    with pytest.raises(DataError, match=r"t\.csv\.gz: "), open_table([path], side=2, white=16):
        pass


def test_a_cut_table_is_an_error(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv.gz", [[0, 1, 2, 3, 4]] * 500)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"t\.csv\.gz: damaged"), open_table([path], side=2, white=16):
        pass


def test_members_are_in_storage_order(tmp_path: Path) -> None:
    order = [f"{index}" for index in np.random.default_rng(0).permutation(50)]
    for write in (write_zip, write_tar):
        with open_archives([write(tmp_path / "data", dict.fromkeys(order, b"x"))]) as members:
            assert list(members) == order


def test_a_tar_member_shorter_than_its_header_says_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "short.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("image")
        info.size = 3000
        archive.addfile(info, io.BytesIO(bytes(3000)))
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(DataError, match=r"short\.tar"):
        read_all(path)


FLAGGED = "é/one.txt".encode()


@pytest.mark.parametrize("place", [0, 1], ids=["in the file's own header", "in the list of files"])
@pytest.mark.parametrize("name", [b"\xff\xff/one.txt", b"\xc3\xc3/one.txt"])
def test_a_name_that_is_not_in_the_encoding_it_says_is_an_error(tmp_path: Path, name: bytes, place: int) -> None:
    path = write_zip(tmp_path / "data.zip", {FLAGGED.decode(): b"1" * 700})
    parts = path.read_bytes().split(FLAGGED)
    names = [FLAGGED, FLAGGED]
    names[place] = name
    path.write_bytes(parts[0] + names[0] + parts[1] + names[1] + parts[2])
    with pytest.raises(DataError, match=r"data\.zip: .*damaged.*codec can't decode byte"):
        read_all(path)


def test_a_file_without_a_name_is_an_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", {"a": b""})
    path.write_bytes(path.read_bytes().replace(b"a", b"\0"))
    with pytest.raises(DataError, match=r"data\.zip: damaged"):
        read_all(path)


def test_a_tar_that_goes_on_before_it_begins_is_an_error(tmp_path: Path) -> None:
    info = tarfile.TarInfo("image")
    info.size = -(2**70)
    (tmp_path / "data.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    with pytest.raises(DataError, match=r"data\.tar: damaged"):
        read_all(tmp_path / "data.tar")
