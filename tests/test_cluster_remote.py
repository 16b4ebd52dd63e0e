"""Two clones without a common folder, and a bucket: what one has made the other takes from it, and trains nothing."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.toy_project import ToyProject
from tests.waiting import wait_until

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1200)]
ACCOUNT = {"AWS_ACCESS_KEY_ID": "moto", "AWS_SECRET_ACCESS_KEY": "moto", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def bucket() -> Iterator[str]:
    """A moto server on loopback with a bucket; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: answers(port))
            code = f"import boto3; boto3.client('s3', endpoint_url='{address}').create_bucket(Bucket='seal')"
            subprocess.run([sys.executable, "-c", code], env=os.environ | ACCOUNT, check=True)
            yield address
        finally:
            server.terminate()


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def clone(folder: Path, address: str) -> ToyProject:
    project = ToyProject(folder)
    remote = f"['remote \"bucket\"']\n    url = s3://seal/toy\n    endpointurl = {address}\n"
    with (folder / ".dvc/config").open("a") as config:
        config.write(remote)
    project.environment |= ACCOUNT
    return project


def test_the_second_clone_trains_nothing(bucket: str, tmp_path: Path) -> None:
    first, second = clone(tmp_path / "first", bucket), clone(tmp_path / "second", bucket)
    refused = first.submit("--remote", "pail", status=1)
    assert refused == (
        "error: found --remote pail, expected one of bucket; `dvc remote add pail s3://bucket/folder` adds it\n"
    )

    first.submit("--remote", "bucket")
    assert first.times("end")["train@seal-0"] == 1

    assert "6 stages taken over, 0 not done" in second.submit("--remote", "bucket")
    begun = {stage.partition("@")[0] for stage in second.times("begin")}
    assert begun == {"fetch", "pack", "curves", "claims", "report"}
    assert second.lock == first.lock
