"""Which of a foreign suite's tests apply to pagoda, and which are expected to fail: from a TOML file, with reasons.

    [files]                       # the files that hold tests which apply
    "unit/test_x.py" = ""
    [not_applicable]              # pattern of test ids -> why
    "unit/test_x.py::test_y*" = "…"
    [excepted]                    # applies, fails by decision: pattern -> why
    "unit/test_x.py::test_z" = "…"
"""

import collections
import fnmatch
import json
import os
import tomllib

import pytest


def reason_of(table, node_id):
    plain = node_id.split("[", 1)[0]
    for pattern, reason in table.items():
        exact = pattern.replace("[", "[[]")
        if plain == pattern or fnmatch.fnmatchcase(node_id, exact):
            return reason
    return None


class Selection:
    """Deselects what does not apply, marks what is excepted (it has to fail), and counts by file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.tables = tomllib.load(file)
        self.counts = collections.defaultdict(collections.Counter)

    def apply(self, config, items):
        left_out = [item for item in items if reason_of(self.tables["not_applicable"], item.nodeid) is not None]
        for item in left_out:
            self.counts[item.nodeid.split("::")[0]]["not applicable"] += 1
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
        for item in items:
            reason = reason_of(self.tables["excepted"], item.nodeid)
            if reason is not None:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))

    def count(self, report):
        if report.when != "call" and not (report.when == "setup" and report.outcome != "passed"):
            return
        outcome = "excepted" if hasattr(report, "wasxfail") and report.skipped else report.outcome
        self.counts[report.nodeid.split("::")[0]][outcome] += 1

    def summary(self, terminal):
        terminal.section("conformance")
        total = collections.Counter()
        for file, count in sorted(self.counts.items()):
            total.update(count)
            terminal.write_line(f"{file}: {dict(count)}")
        applied = total["passed"] + total["failed"] + total["excepted"]  # without what the suite itself skips
        terminal.write_line(f"total: {dict(total)}; passed {total['passed']} of {applied} that apply")
        if path := os.environ.get("CONFORMANCE_JSON"):
            with open(path, "w", encoding="utf-8") as file:
                json.dump(self.counts, file, indent=1, sort_keys=True)
