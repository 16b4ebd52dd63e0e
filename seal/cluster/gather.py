"""`seal gather`: takes over what the jobs have done, as the one writer of dvc.lock; then curves, claims and report.

The last job of a submission, and the start of each `seal submit`. No job's stage is run here.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence

from seal.cluster.pipeline import Pipeline, not_in_cache, read_pipeline, take_over
from seal.cluster.snapshot import submission_of
from seal.cluster.stages import LAST, kind, wanted_stages
from seal.cluster.submission import Submission
from seal.config import load_params
from seal.errors import UserError
from seal.record import TIMINGS
from seal.study.dvc_repo import commands_path
from seal.study.machine import Machine
from seal.timings import read_timings


def gather(asked: Sequence[str] = (), digest: str | None = None) -> None:
    """Take over, make what needs all stages, sync MLflow, and end as `make repro` does; raises UserError where stages
    that were asked for lack, without any asked for those that were sent.

    With a `digest` it is the end of that submission, and refuses code or parameters that are not the submission's.
    """
    pipeline = read_pipeline()
    submission = submission_of(pipeline)
    if digest not in (None, submission.folder.name):
        raise UserError(
            f"cluster/{digest}: found code or parameters that have changed since, expected those that were submitted; "
            "put them back and `seal gather`, or submit again, which takes what still holds from DVC's run cache"
        )

    sent = submission.facts["sent"] if submission.facts_path.exists() else ()
    wanted = wanted_stages(asked or sent, pipeline.jobs, pipeline.needs)
    done = take_over_done(submission, pipeline)
    lacking = [stage for stage in pipeline.jobs if stage in pipeline.to_run and stage not in done]
    failed = [stage for stage in lacking if stage in wanted]
    print(f"{len(done)} stages taken over, {len(failed)} not done", flush=True)
    if sentence := machines_differ(submission, done):
        print(sentence, flush=True)

    if not lacking:
        last = [stage for stage in pipeline.needs if kind(stage) in LAST]
        dvc("repro", "--single-item", *last)
    if done and load_params().runtime.track:
        sync()

    if failed:
        raise UserError(f"not done: {' '.join(failed)}; `seal status` says why, and submitting again goes on")
    if not lacking:
        call("eval.report.ending")


def take_over_done(submission: Submission, pipeline: Pipeline) -> list[str]:
    """Put what the jobs have done into dvc.lock and the project's folders; gives these stages."""
    done = submission.done(pipeline.jobs)
    if not done:
        return []

    take_over(done, dict.fromkeys([*submission.facts["order"], *pipeline.needs]))
    if lost := not_in_cache(done):
        print(f"found the results of {' '.join(lost)} in DVC's cache no more; they are not done", flush=True)
        submission.forget(lost)

    kept = [stage for stage in done if stage not in lost]
    if kept:
        dvc("checkout", "--quiet", "--force", *kept)
    return kept


def dvc(*arguments: str) -> None:
    """Run DVC in the project, which waits where another is at work there."""
    call("dvc", "--wait-for-lock", *arguments)


def call(*words: str) -> None:
    """Run a module in the project; raises UserError where it fails."""
    environment = os.environ | {"PATH": commands_path(), "DVC_NO_ANALYTICS": "1"}
    if status := subprocess.run([sys.executable, "-m", *words], env=environment, check=False).returncode:
        named = " ".join(word for word in words[:3] if not word.startswith("-"))
        raise UserError(f"{named} ended with status {status}, as it says above; mend it and submit again")


def machines_differ(submission: Submission, stages: Iterable[str]) -> str | None:
    """A sentence where they were made on different processors, numbers of threads or GPUs, by timings and marks."""
    machines = set()
    for stage in stages:
        path = TIMINGS / f"{stage}.csv"
        if path.exists():
            for last in read_timings(path)[-1:]:
                gpus = (submission.mark(stage) or {}).get("gpus", [])
                machines.add(", ".join([str(Machine.of(last)), *gpus]))

    if len(machines) < 2:
        return None
    return f"stages were made on {'; '.join(sorted(machines))}: their bits differ from those of a serial run on one"


def sync() -> None:
    """MLflow's view of the record; off on nodes, as SQLite is never written from two machines. Says what is BROKEN."""
    from seal.tracking.whole import sync_all

    for outcome in sync_all():
        if outcome.status == "BROKEN":
            print(outcome, flush=True)
