"""Jobs on a Slurm cluster, by `sbatch` and its dependencies: when the command has ended, all that is left is Slurm's.

By `singleton` two jobs of one stage, which bear one name, never run at once on the cluster.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seal.cluster.limits import limits_of
from seal.cluster.queue import jobs_by_stage, partition_minutes, prefix, queued, slurm
from seal.cluster.stages import kind
from seal.cluster.submission import Facts, Submission
from seal.errors import UserError
from seal.sections import TRAINING
from seal.stage_names import parts

GATHER = "gather"

# SIGTERM ends a job without going back into the queue: Slurm itself puts back what it preempts, and what `scancel` has
# ended must stay ended. Only USR1, which Slurm sends a minute before the time limit, asks for another start.
SCRIPT = """#!/bin/bash
# {name}
trap 'again=1; kill -TERM $child 2>/dev/null' USR1
trap 'kill -TERM $child 2>/dev/null' TERM
{exports}
{command} & child=$!
wait $child; status=$?
kill -0 $child 2>/dev/null && {{ wait $child; status=$?; }}
if [ -n "$again" ] && [ $status -ne 0 ]; then
    if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; then scontrol requeue "$SLURM_JOB_ID" && sleep 120; fi
    echo "error: not done after {restarts} restarts; give it more --sbatch=--time=MINUTES" >&2
fi
exit $status
"""


@dataclass(frozen=True)
class Sbatch:
    """How jobs are handed to Slurm."""

    submission: Submission
    facts: Facts  # of the submission, once it begins
    options: Sequence[str]  # of the user, for sbatch
    restarts: int
    image: str  # of Apptainer, to run jobs in; or empty
    dry: bool  # print, and hand over nothing

    def hand_over(self, label: str, command: Sequence[str], stages: Sequence[str], options: Sequence[str]) -> str:
        """The job's number; the label itself where nothing is handed over. Raises UserError with sbatch's own line."""
        line, script = self.line(label, stages, options), self.script(label, command)
        if self.dry:
            print(f"{shlex.join(line)} <<'END'\n{script}END\n")
            return label
        return slurm(*line, script=script).strip().partition(";")[0]

    def job(self, stages: Sequence[str], options: Sequence[str]) -> list[str]:
        """What runs them on a node: in the image by its own Python, with the project's folders as they are here."""
        module = ["-m", "seal.cluster.job", *stages, *options]
        if not self.image:
            return [sys.executable, *module]
        folders = [str(self.submission.project), self.facts["cache"], *scratch_elsewhere()]
        return ["apptainer", "exec", "--nv", "--bind", ",".join(folders), self.image, "python", *module]

    def line(self, label: str, stages: Sequence[str], options: Sequence[str]) -> list[str]:
        log = str(self.submission.log(label)).replace("%", "%%")
        comment = f"{self.submission.folder.name} {' '.join(stages)}"
        return [
            "sbatch", "--parsable", f"--job-name={prefix()}{label}", f"--comment={comment}", f"--output={log}",
            f"--chdir={self.submission.folder}", "--open-mode=append", "--requeue", "--signal=B:USR1@60",
            *options, *self.options,
        ]  # fmt: skip

    def script(self, label: str, command: Sequence[str]) -> str:
        variables = self.submission.environment().items()
        exports = [f"export {name}={shlex.quote(value)}" for name, value in variables]
        return SCRIPT.format(
            name=label, exports="\n".join(exports), command=shlex.join(command), restarts=self.restarts
        )


def scratch_elsewhere() -> list[str]:
    folder = os.environ.get("SEAL_SCRATCH", "")
    return [folder] if Path(folder).is_absolute() else []


def send(sbatch: Sbatch, needs: Mapping[str, Sequence[str]], options: Sequence[str], grouped: bool) -> int:
    """Hand over a job for each stage or group of which Slurm holds none, then `gather`; how many were new.

    Raises UserError at the first that sbatch refuses; what it took before that stays.
    """
    held = {stage: job.job for stage, job in jobs_by_stage(sbatch.submission.folder.name).items()}
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
