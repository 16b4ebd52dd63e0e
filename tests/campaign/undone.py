"""Whether undoing a mend is seen: `python -m tests.campaign.undone [WORD ...]`, a line for each of undone.yaml.

Each is undone alone, in a copy, where its campaign then goes on until a case fails, or its test is run. WORDs choose
the mends whose words hold one of them.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.copies import copy_project
from tests.mutants import COPIED, ROOT

LONGEST = 270.0  # s, of a campaign that may hang by what was undone
CASES, KILLS = "400", "40"  # of the family or kind that is to see it
BESIDE = ("LICENSE", "CITATION.cff")


@dataclass(frozen=True)
class Undone:
    kind: int  # of the twenty
    mend: str
    file: str
    text: str
    instead: str
    campaign: str = ""  # a family
    kill: str = ""  # a command and what it meets
    test: str = ""  # below tests/

    @property
    def command(self) -> list[str]:
        if self.campaign:
            return ["tests.campaign", "--only", self.campaign, "--cases", CASES]
        if self.kill:
            return ["tests.campaign.kills", "--only", self.kill, "--kills", KILLS]
        return ["pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{self.test}"]


def all_undone() -> list[Undone]:
    entries = yaml.safe_load((ROOT / "tests/campaign/undone.yaml").read_text(encoding="utf-8"))
    return [Undone(**entry) for entry in entries]


def first_failure(undone: Undone, copy: Path) -> str:
    """The case or test that fails first without the mend; empty where none does."""
    path = copy / undone.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(undone.text, undone.instead), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *undone.command]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return f"no end after {LONGEST:.0f} s"
    finally:
        path.write_text(text, encoding="utf-8")

    failures = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    if not failures and done.returncode:
        return f"ended with {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}"
    return failures[0].removeprefix("FAILED ") if failures else ""


def main() -> None:
    words = sys.argv[1:]
    chosen = [undone for undone in all_undone() if not words or any(word in undone.mend for word in words)]
    unseen = 0
    with tempfile.TemporaryDirectory() as folder:
        copy_project(Path(folder), (*COPIED, *BESIDE))
        for undone in chosen:
            failure = first_failure(undone, Path(folder))
            unseen += not failure
            print(f"{undone.kind} | {undone.mend} | {failure or 'UNSEEN'}", flush=True)
    sys.exit(f"{unseen} of {len(chosen)} unseen" if unseen else 0)


if __name__ == "__main__":
    main()
