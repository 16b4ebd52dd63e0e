"""Jobs side by side on one machine, as targets of a Makefile that GNU make runs in a session of its own.

`submit` calls it. make outlives the command and the terminal; where it is killed, its jobs end their stage.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from seal.cluster.job import gpu_names
from seal.cluster.submission import Submission
from seal.cluster.submit import Prepared, threads_of_a_job
from seal.errors import UserError
from seal.planning.measured_gpu import runs_at_once
from seal.processor import usable_cores


def check_local(gpus: Sequence[str]) -> None:
    """Raises UserError without make or flock, and for a GPU that is not here."""
    for command in ("make", "flock"):
        if shutil.which(command) is None:
            raise UserError(f"found no {command} on the PATH, expected it; install it (GNU make, util-linux)")

    here = []
    if gpus and shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
        here = subprocess.run(query, capture_output=True, text=True, check=False).stdout.replace(",", "").split()
    for gpu in gpus:
        if gpu not in here:
            known = ", ".join(here[::2]) or "none"
            raise UserError(f"found --gpus {gpu}, expected one of this machine's, which are {known} by nvidia-smi")


def threads_at_once(chosen: int | None, places: int, gpus: Sequence[str]) -> int:
    """Of each job, by default a share of the cores; warns where without GPUs the jobs have more than there are: two of
    two threads on two cores take several times as long."""
    cores = usable_cores()
    share = max(1, cores // places)
    threads = threads_of_a_job(chosen, share)
    if places * threads > cores and not gpus:
        remedy = f"set runtime.threads to {share} in params.yaml, or run fewer at once"
        print(
            f"warning: {places} jobs of {threads} threads slow each other on {cores} cores; {remedy}", file=sys.stderr
        )
    return threads


def gpu_options(gpus: Sequence[str], per_gpu: int | None) -> list[str]:
    """A job's own: the GPUs to take a place on, and how many share one: as the acceptance found best, where asked for
    nothing else (docs/gpu.md)."""
    if per_gpu and not gpus:
        raise UserError(f"found --per-gpu {per_gpu} without --gpus, expected the GPUs to share out, as --gpus 0,1")
    if not gpus:
        return []
    return ["--gpus", ",".join(gpus), "--per-gpu", str(per_gpu or runs_at_once(gpu_names()))]


def start(prepared: Prepared, places: int, options: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start make on what lacks, `places` at once; `options` are the job's."""
    submission, needs = prepared.submission, prepared.needs
    submission.begin(prepared.facts, needs)
    submission.log("gather").unlink(missing_ok=True)
    (submission.folder / "Makefile").write_text(makefile(submission, needs, options), encoding="utf-8")
    # -o: a job that outlives a killed make does not hold its lock, but its stage's, where the next make's job waits.
    # -w: `seal status`, which looks whether it is held, holds it for a moment.
    command = ["flock", "-w", "5", "-o", str(submission.lock("make")), "make", f"-j{places}"]
    with submission.log("make").open("ab") as log:
        return subprocess.Popen(
            command, cwd=submission.folder, env=os.environ | submission.environment(), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip


def words_of_gather(submission: Submission, status: int) -> str:
    """What it printed, once make has ended with this status."""
    log = submission.log("gather")
    if not log.exists():
        raise UserError(f"make ended with status {status} before what was done was gathered; submit again")
    return log.read_text(encoding="utf-8")


def makefile(submission: Submission, needs: Mapping[str, Sequence[str]], options: Sequence[str]) -> str:
    """A stage begins when those it needs are done; beside a failure the others go on."""
    gather = ["gather", *needs, "--digest", submission.folder.name]
    lines = [
        ".SILENT:",
        f".PHONY: gather stages {' '.join(needs)}",
        "gather:",
        "\t-$(MAKE) --no-print-directory --keep-going stages",
        f"\tcd {recipe(str(submission.project))} && {recipe(sys.executable, '-m', 'seal.cli', *gather)} "
        f"> {recipe(str(submission.log('gather')))} 2>&1",
        f"stages: {' '.join(needs)}",
    ]
    for stage, above in needs.items():
        job = recipe(sys.executable, "-m", "seal.cluster.job", stage, *options)
        lines += [f"{stage}: {' '.join(above)}", f"\t{job} >> {recipe(f'log/{stage}.log')} 2>&1"]
    return "\n".join(lines) + "\n"


def recipe(*words: str) -> str:
    """Words of a shell's line as make's recipes want them."""
    return shlex.join(words).replace("$", "$$")
