"""One Hypothesis profile, derandomised in CI; and closing lines that say what a green run has not covered."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "seal", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("seal")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "mirror" in getattr(item, "fixturenames", ()):
            item.add_marker("mirrored")  # a report, which a worker process sends, knows its test's marks alone


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped if report.longrepr})
    for reason in reasons:
        count = sum(reason in str(report.longrepr) for report in skipped)
        terminalreporter.write_line(f"left out, {count} tests: {reason}")
    used = sum("mirrored" in report.keywords for report in terminalreporter.stats.get("passed", []))
    terminalreporter.write_line(f"tests that used the data mirror's real images: {used}")
