"""What the user can mend is one line, and everything else keeps its traceback."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

from seal.device import torch_device
from seal.errors import UserError, first_line, one_line_errors
from seal.kernels.checks import BackendError
from tests.strategies import params_with


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("x: found 1, expected 2"), "error: x: found 1, expected 2"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/b"), "error: a/b: No space left on device; make room"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "error: Disk quota exceeded; make room"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "a"), "error: a: Read-only file system; make it one"),
        (
            BackendError("backend 'triton' needs a GPU\nmore"),
            "error: runtime.optimizer_backend: backend 'triton' needs a",
        ),
    ],
)
def test_what_the_user_can_mend_ends_in_one_line(error: Exception, words: str) -> None:
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise error
    assert str(caught.value.code).startswith(words)
    assert "\n" not in str(caught.value.code)


def test_a_tree_that_is_not_copied_whole_is_named_by_its_first_file(tmp_path: Path) -> None:
    """shutil has one error of many files, without an errno."""
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    (source / "deep/a").touch()

    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_by_sendfile(source: str, target: str) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), source, None, target)

    def unreadable(source: str, target: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), source)

    expected = {
        full: f"error: {target}/deep/a: No space left on device; make room",
        full_by_sendfile: f"error: {target}/deep/a: Disk quota exceeded; make room",
        unreadable: f"error: {source}/deep/a: Permission denied; make it one that can be read",
    }
    for copy, words in expected.items():
        with pytest.raises(SystemExit) as caught, one_line_errors():
            shutil.copytree(source, target, copy_function=copy, dirs_exist_ok=True)
        assert str(caught.value.code).startswith(words)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"), (ValueError("\n one"), "one"), (AssertionError(), "AssertionError"),
        (RuntimeError(" \n"), "RuntimeError"),
    ],
)  # fmt: skip
def test_the_first_line_of_an_error_is_its_kind_where_it_has_no_message(error: Exception, line: str) -> None:
    assert first_line(error) == line


FAULTS = [
    OSError(errno.EBADF, "x"), OSError("x"), shutil.Error("x"), shutil.Error([("a", "b", "x")]),
    RuntimeError("shapes differ"), RuntimeError("backend 'x' is not ours"), ValueError("x"),
]  # fmt: skip


@pytest.mark.parametrize("error", FAULTS)
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), one_line_errors():
        raise error


@pytest.mark.parametrize(
    ("prefix", "resumes", "line"),
    [
        ("error", "", "interrupted\n"), ("error", "it goes on", "interrupted: it goes on\n"),
        ("pack@a", "it goes on", "pack@a: interrupted: it goes on\n"),
    ],
)  # fmt: skip
def test_ctrl_c_says_how_it_goes_on_where_it_does(
    prefix: str, resumes: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, one_line_errors(prefix, resumes):
        raise KeyboardInterrupt
    assert (caught.value.code, capsys.readouterr().err) == (130, line)


@pytest.mark.parametrize("name", ["cud", "cuda:x", "", "cuda:99", "mps", "mps:0", "xpu", "meta", "hpu:1"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(
        UserError, match=r"^runtime\.device: found .*expected auto, cpu|^runtime\.device: found .* GPUs"
    ):
        torch_device(params_with(runtime={"device": name}).runtime)


def test_the_cpu_is_always_there() -> None:
    assert torch_device(params_with(runtime={"device": "cpu", "threads": None}).runtime) == torch.device("cpu")
