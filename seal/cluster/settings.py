"""DVC's settings: where the project's cache is, which remotes it knows, and what a job's workspace gets of them.

Of this room, it and pipeline.py alone use DVC's insides. DVC is imported where it is needed, as that takes a second.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seal.errors import UserError
from seal.study.dvc_repo import dvc_errors

NOWHERE = "nowhere"  # the remote of jobs


def cache_folder() -> Path:
    """Where the project's DVC has its cache, by `cache.dir`."""
    from dvc.repo import Repo

    with dvc_errors(), Repo() as repo:
        return Path(repo.cache.local.path)


def configure(workspace: Path) -> None:
    """Give a copy of the project the DVC settings of the one in the working directory, cache and remotes included.

    Its own remote is a folder that is not there: what a stage reads is put into place by `dvc repro --pull`, which
    asks a remote even where all lies in the cache, and is not to ask the project's.
    """
    from dvc.config import Config
    from dvc.repo import Repo

    with dvc_errors(), Repo() as repo:
        remotes = {name: _plain(remote) for name, remote in repo.config["remote"].items()}
        settings = {
            "core": repo.config["core"] | {"no_scm": True, "remote": NOWHERE},
            "cache": repo.config["cache"] | {"dir": repo.cache.local_cache_dir},
            "remote": remotes | {NOWHERE: {"url": str(workspace.parent / NOWHERE)}},
        }

    folder = workspace / ".dvc"
    folder.mkdir(mode=0o700)  # a remote's settings may hold a secret
    with dvc_errors(), Config(str(folder), validate=False).edit("repo", validate=False) as config:
        config.update(settings)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A path that was relative is absolute by now, of a kind of string that DVC would write relative to this file; a
    workspace has a copy of the file, which lies deeper."""
    return {key: str(value) if isinstance(value, str) else value for key, value in settings.items()}


def check_remote(name: str) -> None:
    """Raises UserError where DVC knows no such remote."""
    from dvc.repo import Repo

    with dvc_errors(), Repo() as repo:
        known = [*repo.config["remote"]]
    if name not in known:
        advice = f"`dvc remote add {name} s3://bucket/folder` adds it"
        raise UserError(f"found --remote {name}, expected one of {', '.join(known) or 'none yet'}; {advice}")
