"""What tests have to tell at the end of the run, whether it passes or not.

A line goes with the report of its test, because the test may run in another process than the one that
prints (`--numprocesses`).
"""

import pytest

NAME = "told at the end"


@pytest.fixture
def told(request):
    """Tells a line, or several in one text."""
    return lambda text: request.node.user_properties.append((NAME, text))


def pytest_terminal_summary(terminalreporter):
    reports = [report for of_one_outcome in terminalreporter.stats.values() for report in of_one_outcome]
    calls = [report for report in reports if getattr(report, "when", None) == "call"]
    if lines := [text for report in calls for name, text in report.user_properties if name == NAME]:
        terminalreporter.section("what others make of our tokens")
        terminalreporter.write_line("\n".join(lines))
