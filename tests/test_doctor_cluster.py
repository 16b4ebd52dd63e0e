"""What `seal doctor --cluster` finds: of this machine's locks and links, and of Slurm by stand-ins for its commands."""

import os
import subprocess
from pathlib import Path
from typing import Never

import pytest

from seal.doctor import _guarded, cluster
from seal.doctor.finding import Finding


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with nothing on the PATH but what a test puts there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "commands").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "commands"))
    (tmp_path / "cluster").mkdir()
    dvc_config()
    Path("dvc.yaml").touch()
    return tmp_path


def dvc_config(*lines: str) -> None:
    Path(".dvc").mkdir(exist_ok=True)
    Path(".dvc/config").write_text("\n".join(["[core]", "no_scm = true", *lines, ""]))


def stand_in(project: Path, name: str, *lines: str) -> None:
    path = project / "commands" / name
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def test_another_process_sees_a_lock(project: Path) -> None:
    assert cluster.check_locks() == Finding("locks", "ok", "another process sees a lock that is held here")


def test_a_node_that_sees_no_lock_is_a_warning(project: Path) -> None:
    """As on NFS with local locks: what srun runs gets the lock."""
    stand_in(project, "srun", "exit 0")
    found = cluster.check_locks()
    assert (found.status, found.fact) == ("warn", "a node does not see a lock that is held here")
    assert "nolock" in found.advice


def test_a_node_that_cannot_try_is_a_failure_in_its_own_words(project: Path) -> None:
    stand_in(project, "srun", "echo first >&2", "echo 'srun: error: no such folder' >&2", "exit 2")
    found = cluster.check_locks()
    assert (found.status, found.fact) == ("fail", "a node could not try: srun: error: no such folder")


@pytest.mark.parametrize(
    ("slurm", "printed", "status", "fact"),
    [
        (True, None, "warn", "no node was free within 300 s"),
        (True, b"tries\n", "fail", "a node asks for a lock, and has no answer within 300 s"),
        (False, None, "fail", "another process asks for a lock, and has no answer within 300 s"),
    ],
)
def test_a_busy_cluster_is_told_from_a_lock_that_gives_no_answer(
    project: Path, monkeypatch: pytest.MonkeyPatch, slurm: bool, printed: bytes | None, status: str, fact: str
) -> None:
    def waits(command: list[str], **options: object) -> Never:
        raise subprocess.TimeoutExpired(command, 300, output=printed)

    if slurm:
        stand_in(project, "srun")
    monkeypatch.setattr("seal.doctor.cluster.subprocess.run", waits)
    seen = cluster.check_locks()
    assert (seen.status, seen.fact) == (status, fact)


def test_links_are_hard_else_symbolic_else_copies(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: str, target: Path) -> Never:
        raise OSError("another disk")

    assert cluster.check_links().fact == "workspaces get the cache's files by link"
    monkeypatch.setattr(os, "link", refused)
    assert cluster.check_links().status == "ok"
    monkeypatch.setattr(os, "symlink", refused)
    assert cluster.check_links() == Finding(
        "links", "warn", "workspaces copy the cache's files", "keep the cache on the project's disk"
    )


def test_the_cache_is_dvcs_wherever_it_lies(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, linked = project / "elsewhere", []

    def noted(source: str, target: Path) -> None:
        linked.append(Path(source))

    dvc_config("[cache]", f"dir = {elsewhere}")
    assert "elsewhere" not in cluster.check_room().fact, "it has yet to be made"
    monkeypatch.setattr(os, "link", noted)
    assert cluster.check_links().status == "ok"
    assert [path.is_relative_to(elsewhere) for path in linked] == [True]
    assert f"{elsewhere}" in cluster.check_room().fact
    assert not (project / ".dvc/cache").exists()


def test_outside_of_a_project_nothing_is_made_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = {
        cluster.check_locks: "found no dvc.yaml here, expected the project's root; run from there",
        cluster.check_links: "found no dvc.yaml here, expected the project's root; run from there",
        cluster.check_room: "DVC: you are not inside of a DVC repository",
    }
    for check, words in expected.items():
        found = _guarded("links", check)
        assert found.status == "fail"
        assert found.fact.startswith(words)
    assert not [*tmp_path.iterdir()]


def test_without_slurm_there_are_no_limits_to_name(project: Path) -> None:
    assert [*cluster.cluster_checks()] == ["locks", "links", "room", "nodes"]
    assert cluster.check_nodes().fact == "no Slurm on the PATH"


def test_nodes_are_counted_by_kind_whatever_partitions_they_are_in(project: Path) -> None:
    lines = ["n1|64 cores|gpu:h100:8", "n2|64 cores|gpu:h100:8", "n3|32 cores|(null)", "n1|64 cores|gpu:h100:8"]
    stand_in(project, "sinfo", *(f"echo '{line}'" for line in lines))
    assert cluster.check_nodes().fact == "2 of 64 cores, gpu:h100:8; 1 of 32 cores"


def test_limits_and_accounting_are_told(project: Path) -> None:
    stand_in(project, "sinfo", "echo 'main* 2-00:00:00'")
    stand_in(project, "scontrol", "echo 'MaxArraySize            = 1001'", "echo 'MaxJobCount             = 10000'")
    assert cluster.check_limits().fact == "main* 2-00:00:00; MaxArraySize 1001; MaxJobCount 10000"

    assert cluster.check_accounting().fact.startswith("none: ")
    stand_in(project, "sacct")
    assert cluster.check_accounting().fact == "sacct answers"
