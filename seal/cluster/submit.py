"""What `seal submit` does before it sends: gathers, fetches, packs, takes a snapshot, and says which stages lack.

submitting.py sends them. Submitting again is always right: what is done is taken over, what is at work is left alone,
the rest is sent.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from seal.cluster.gather import dvc, take_over_done
from seal.cluster.pipeline import locked_entries, read_pipeline
from seal.cluster.settings import check_remote
from seal.cluster.snapshot import take_snapshot
from seal.cluster.stages import HERE, kind, needs_among, wanted_stages
from seal.cluster.submission import CLUSTER, Facts, Submission
from seal.cluster.workspace import link_of
from seal.config import load_params
from seal.data.listing import update
from seal.errors import UserError

ROOM = 64 * 2**20  # bytes; with less free in the cache nothing is sent
LOOK = 1.0  # s for which `seal cancel` may hold the lock, to see whether it is held
Needs = dict[str, list[str]]  # stages to send, in order, with those right above each that are sent too


class Prepared(NamedTuple):
    """What there is to send."""

    submission: Submission
    needs: Needs
    facts: Facts  # of the submission, once it begins


@contextmanager
def prepared(asked: Sequence[str], how: str, places: int, remote: str) -> Iterator[Prepared]:
    """What is missing, with all that it needs made here; no other submit can begin meanwhile."""
    check_project()
    CLUSTER.mkdir(exist_ok=True)
    try:
        with FileLock(CLUSTER / "submit.lock", timeout=LOOK):
            update(load_params().datasets, lambda done, total: None)
            yield prepare(asked, how, places, remote)
    except Timeout:
        raise UserError("another submit is under way here; `seal status` shows its jobs") from None


def prepare(asked: Sequence[str], how: str, places: int, remote: str) -> Prepared:
    if remote:
        check_remote(remote)

    pipeline = read_pipeline()
    wanted = wanted_stages(asked, pipeline.jobs, pipeline.needs)
    submission = take_snapshot(pipeline)
    if submission.is_held("make"):
        raise UserError("a make is at work here already; `seal status` shows it, `seal cancel` ends it")

    before = submission.facts if submission.facts_path.exists() else None
    order = before["order"] if before else list(locked_entries())
    taken_over = take_over_done(submission, pipeline) if before else []
    check_cache(pipeline.cache)  # only now, as `dvc gc -w` would remove what jobs have made and dvc.lock does not name

    here = [stage for stage in pipeline.needs if kind(stage) in HERE and stage in pipeline.to_run & wanted]
    if here:
        dvc("repro", *here)
        if remote:
            dvc("push", "--quiet", "--run-cache", "--remote", remote, *here)
    if here or taken_over:
        pipeline = read_pipeline()

    sent = [stage for stage in pipeline.jobs if stage in pipeline.to_run & wanted]
    current = {stage: entry for stage, entry in locked_entries().items() if stage not in pipeline.to_run}
    needs = {stage: pipeline.needs[stage] for stage in pipeline.jobs}
    facts = {
        "how": how, "places": places, "cache": str(pipeline.cache), "order": order, "sent": sent, "needs": needs,
        "entries": current,
    }  # fmt: skip
    return Prepared(submission, needs_among(pipeline.needs, sent), facts)


def threads_of_a_job(chosen: int | None, by_default: int) -> int:
    """The number that fixes bits: --threads, else runtime.threads, else `by_default`; never left to torch."""
    fixed = load_params().runtime.threads
    if chosen and fixed and chosen != fixed:
        raise UserError(
            f"found --threads {chosen} and runtime.threads {fixed}, expected one number; leave out --threads"
        )
    return chosen or fixed or by_default


def check_project() -> None:
    if not Path("dvc.yaml").exists():
        raise UserError("found no dvc.yaml here, expected the project's root; run from there")
    if not str(Path.cwd()).isprintable():
        raise UserError(f"found {str(Path.cwd())!r} as the project's folder, expected no newline in it; rename it")


def check_cache(cache: Path) -> None:
    """Raises UserError where DVC's cache has no room, cannot be written, or a workspace could get nothing out of it."""
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if free < ROOM:
        raise UserError(
            f"{cache}: found {free / 1e6:.0f} MB free, expected {ROOM / 1e6:.0f} MB; make room, or once no job is at "
            "work `seal gather`, then `dvc gc -w`"
        )

    if link_of(cache) is None:
        print(f"{cache}: its files cannot be linked to from here; each job copies what it needs")
