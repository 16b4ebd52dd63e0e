"""A job as sbatch gets it: its options and its script. slurm.py says which jobs there are, and what each waits for."""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seal.cluster.limits import is_chosen
from seal.cluster.queue import prefix, slurm
from seal.cluster.submission import Facts, Submission
from seal.errors import UserError

OURS = (
    "--job-name", "-J", "--comment", "--output", "-o", "--chdir", "-D", "--dependency", "-d", "--signal",
    "--no-requeue",
)  # fmt: skip

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
    if [ "${{SLURM_RESTART_COUNT:-0}}" -ge {restarts} ]; then
        echo "error: not done after {restarts} restarts; give it more --sbatch=--time=MINUTES" >&2
    elif scontrol requeue "$SLURM_JOB_ID"; then
        sleep 120
    else
        echo "error: Slurm refused another start; submit again, or give it more --sbatch=--time=MINUTES" >&2
    fi
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


def check_options(options: Sequence[str]) -> None:
    """Raises UserError for one of the user's by which a job could not be found again, wait, or start once more: of two
    of a name sbatch takes the last."""
    for name in OURS:
        if is_chosen(options, [name]):
            problem = f"found --sbatch={name}, expected none of {', '.join(OURS)}"
            remedy = "by which jobs are named, logged, wait for one another and start again; leave it out"
            raise UserError(f"{problem}, {remedy}")


def scratch_elsewhere() -> list[str]:
    folder = os.environ.get("SEAL_SCRATCH", "")
    return [folder] if Path(folder).is_absolute() else []
