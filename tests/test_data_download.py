"""Downloads: by ranges where they broke off, verified, made once; and a full disk."""

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from seal.data import download as downloads
from seal.data.archives import DataError
from seal.data.download import download, mismatch
from seal.data.fetch import fetch
from seal.data.places import Places
from seal.data.sources import SOURCES, Archive
from tests.fixtures_data import silent
from tests.fixtures_download import CONTENT, TINY, official, places, source

__all__ = ["places", "source"]


class Server(ThreadingHTTPServer):
    """Serves CONTENT, by ranges where asked; breaks off after `limit` bytes of a reply."""

    content, limit, says_length = CONTENT, len(CONTENT), True

    def __init__(self) -> None:
        self.ranges: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def archive(self) -> Archive:
        return official(url=f"http://127.0.0.1:{self.server_port}/tiny-imagenet-200.zip")


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.ranges.append(wanted)
        first = int(re.findall(r"\d+", wanted)[0]) if wanted else 0
        if first >= len(self.server.content):
            return self.send_error(416)
        self.send_response(206 if wanted else 200)
        if self.server.says_length:
            self.send_header("Content-Length", str(len(self.server.content) - first))
        self.end_headers()
        self.wfile.write(self.server.content[first : first + self.server.limit])
        return None

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setitem(SOURCES, "tiny_imagenet", replace(SOURCES["tiny_imagenet"], archives=(server.archive,)))
        yield server
        server.shutdown()
        thread.join()


def test_a_server_that_does_not_say_the_size_leaves_it_to_the_checksum(server: Server, places: Places) -> None:
    server.says_length = False
    reports: list[tuple[int, int]] = []
    assert fetch("tiny", TINY, places, lambda *report: reports.append(report))["archives"][0]["official"]
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    (places.downloads / "tiny-imagenet-200.zip").unlink()
    server.limit -= 1
    with pytest.raises(DataError, match="the file was removed, run again"):
        fetch("tiny", TINY, places, lambda *report: None)


def test_a_download_is_verified_and_made_once(server: Server, places: Places) -> None:
    reports: list[tuple[int, int]] = []
    for _ in range(2):
        assert fetch("tiny", TINY, places, lambda *report: reports.append(report))["archives"][0]["official"]
    assert (places.downloads / "tiny-imagenet-200.zip").read_bytes() == CONTENT
    assert server.ranges == [None]
    assert reports[-1] == (len(CONTENT), len(CONTENT))


def test_a_download_that_broke_off_goes_on(server: Server, places: Places) -> None:
    server.limit = 2_000_000
    record = fetch("tiny", TINY, places, silent)
    assert record["status"] == "missing"
    assert "the download failed (broke off at 2000000 of 5120000 bytes); " in record["reason"]
    assert not (places.downloads / "tiny-imagenet-200.zip").exists()
    server.limit = len(CONTENT)
    assert fetch("tiny", TINY, places, silent)["status"] == "present"
    assert server.ranges == [None, "bytes=2000000-"]


def test_a_partial_file_that_is_whole_is_taken(server: Server, places: Places) -> None:
    (places.downloads / "tiny-imagenet-200.zip.part").write_bytes(CONTENT)
    assert fetch("tiny", TINY, places, silent)["archives"][0]["official"]
    assert server.ranges == ["bytes=5120000-"]


def test_a_download_with_a_wrong_checksum_is_removed(server: Server, places: Places) -> None:
    server.content = b"another file"
    with pytest.raises(DataError, match=r"tiny-imagenet-200\.zip from http:.*: found md5 .*, expected .* was removed"):
        fetch("tiny", TINY, places, silent)
    assert [path.name for path in places.downloads.iterdir()] == ["tiny-imagenet-200.zip.lock"]


def test_no_network_is_a_missing_dataset(server: Server, places: Places) -> None:
    refused = replace(official(), url="http://127.0.0.1:9/tiny-imagenet-200.zip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "tiny_imagenet", replace(SOURCES["tiny_imagenet"], archives=(refused,)))
        record = fetch("tiny", TINY, places, silent)
    assert record["status"] == "missing"
    assert "the download failed" in record["reason"]


def test_a_full_disk_stops_a_download_before_it_starts(server: Server, places: Places, monkeypatch) -> None:
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    with pytest.raises(DataError, match=r"archives: found 1\.0 MB free, expected 5\.1 MB"):
        fetch("tiny", TINY, places, silent)
    assert not server.ranges


def test_a_disk_that_fills_up_is_an_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with (
        pytest.raises(DataError, match="the disk is full"),
        downloads.full_disk_is_an_error(tmp_path),
        Path("/dev/full").open("wb", buffering=0) as file,
    ):
        file.write(b"x")


def test_a_file_is_compared_by_what_is_published_of_it(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"abc")
    md5 = "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321
    for right in (Archive("list.txt", None), Archive("list.txt", 3), Archive("list.txt", None, md5)):
        assert mismatch(path, right) == ""
    assert mismatch(path, Archive("list.txt", 4)) == "found 3 bytes, expected 4"
    assert re.fullmatch(r"found md5 \w+ \(3 bytes\), expected 0123", mismatch(path, Archive("list.txt", None, "0123")))
    wanted = Archive("list.txt", None, url=path.as_uri())
    assert download(wanted, tmp_path / "downloads", silent).read_bytes() == b"abc"
