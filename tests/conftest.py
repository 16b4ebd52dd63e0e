"""One Hypothesis profile, derandomised in CI; and closing lines that say what a green run has not covered."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "seal", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("seal")

MIRRORED = pytest.StashKey[set[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[MIRRORED] = {item.nodeid for item in items if "mirror" in getattr(item, "fixturenames", ())}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    passed = {report.nodeid for report in terminalreporter.stats.get("passed", [])}
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped if report.longrepr})
    for reason in reasons:
        count = sum(reason in str(report.longrepr) for report in skipped)
        terminalreporter.write_line(f"left out, {count} tests: {reason}")
    used = len(passed & config.stash.get(MIRRORED, set()))
    terminalreporter.write_line(f"tests that used the data mirror's real images: {used}")
