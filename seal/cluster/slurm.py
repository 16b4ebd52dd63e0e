"""Jobs on a Slurm cluster, by `sbatch` and its dependencies: when the command has ended, all that is left is Slurm's.

By `singleton` two jobs of one stage, which bear one name, never run at once on the cluster.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence

from seal.cluster.limits import limits_of
from seal.cluster.queue import jobs_by_stage, partition_minutes, queued, slurm
from seal.cluster.sbatch import Sbatch
from seal.cluster.stages import kind
from seal.errors import UserError
from seal.sections import TRAINING
from seal.stage_names import parts

GATHER = "gather"


def send(sbatch: Sbatch, needs: Mapping[str, Sequence[str]], options: Sequence[str], grouped: bool) -> int:
    """Hand over a job for each stage or group of which Slurm holds none, then `gather`; how many were new.

    Raises UserError at the first that sbatch refuses; what it took before that stays.
    """
    held = jobs_to_rely_on(sbatch.submission.folder.name, needs)
    new: dict[str, list[str]] = {}
    for label, stages in jobs_of(needs, grouped).items():
        lacking = [stage for stage in stages if stage not in held]
        if lacking:
            new[label] = lacking

    limits = limits_of(new, sbatch.options, partition_minutes(sbatch.options))
    if new and not sbatch.dry:
        label, *_ = new
        slurm(*sbatch.line(label, new[label], ["--test-only", *limits[label]]), script=sbatch.script(label, ["true"]))
    if not sbatch.dry:
        sbatch.submission.begin(sbatch.facts, needs.keys() - held.keys())

    for sent, (label, stages) in enumerate(new.items()):
        depends = [f"--dependency={dependency(stages, needs, held)}", "--kill-on-invalid-dep=yes"]
        try:
            job = sbatch.hand_over(
                label, sbatch.job(stages, [*options, "--label", label]), stages, [*depends, *limits[label]]
            )
        except UserError as error:
            went = f"{sent} of {len(new)} jobs went in"
            raise UserError(f"{went}, then {error}; the same command sends the rest") from error
        held |= dict.fromkeys(stages, job)

    send_gather(sbatch, [*needs], [*dict.fromkeys(held.values())])
    return len(new)


def jobs_to_rely_on(digest: str, needs: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The numbers of a submission's jobs in the queue, by stage. None that is ending, as one does for a while after
    `scancel`, and none that waits for a job which is no more: it can never begin. `singleton` makes new ones wait."""
    jobs = {stage: job for stage, job in jobs_by_stage(digest).items() if job.state != "COMPLETING"}
    for stage, above in needs.items():
        if stage in jobs and jobs[stage].state == "PENDING" and not jobs.keys() >= set(above):
            del jobs[stage]
    return {stage: job.job for stage, job in jobs.items()}


def dependency(stages: Sequence[str], needs: Mapping[str, Sequence[str]], held: Mapping[str, str]) -> str:
    """For sbatch, of a job of these stages: the jobs of what stands right above, by `held`, have ended well."""
    jobs: list[str] = []
    for stage in stages:
        jobs += [held[name] for name in needs[stage]]
    return f"afterok:{':'.join(dict.fromkeys(jobs))},singleton" if jobs else "singleton"


def send_gather(sbatch: Sbatch, stages: Sequence[str], after: Sequence[str]) -> None:
    """The last job, after all others however they end; one that waits already knows of fewer."""
    digest, python, project = sbatch.submission.folder.name, sys.executable, str(sbatch.submission.project)
    for job in queued():
        if not sbatch.dry and job.stages == () and job.digest == digest and job.state == "PENDING":
            slurm("scancel", job.job)

    gather = shlex.join([python, "-m", "seal.cli", GATHER, *stages, "--digest", digest])
    options = [f"--dependency=afterany:{':'.join(after)},singleton"]
    sbatch.hand_over(GATHER, ["bash", "-c", f"cd {shlex.quote(project)} && exec {gather}"], [], options)


def jobs_of(needs: Mapping[str, Sequence[str]], grouped: bool) -> dict[str, list[str]]:
    """A job's label to its stages: one each; `grouped`, all evaluations of a run in one, as most are short."""
    jobs: dict[str, list[str]] = {}
    for stage in needs:
        run = parts(stage).run
        together = grouped and run is not None and kind(stage) not in TRAINING
        jobs.setdefault(f"evaluations@{run}" if together else stage, []).append(stage)
    return jobs
