"""What the programs that compare policies on traces have in common: their options and the table that they print."""

from __future__ import annotations

import argparse
import json
import pathlib
import shlex
import statistics

from .figures import FIGURES, HEADING, figures_of, plot
from .kinds import KINDS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def named(text: str) -> tuple[str, str]:
    """NAME=REST, as a type of argparse."""
    name, equals, rest = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' has no name before a '='")
    return name, rest


def add_options(parser: argparse.ArgumentParser, command: str, requests: int, seeds: int) -> None:
    """`command`: of pagoda, which gets `--options`; `requests`, `seeds`: defaults."""
    parser.add_argument("--pagoda", default=str(ROOT / "build/release/bin/pagoda"), help="default: %(default)s")
    parser.add_argument("--traces", default="sharegpt-like,azure-conv-like,azure-code-like", help="default: %(default)s")
    parser.add_argument("--policies", default="fcfs,mlfq", metavar="NAME,NAME", help="default: %(default)s")
    parser.add_argument("--variant", type=named, action="append", default=[], metavar="NAME=OPTIONS",
                        help=f"a row for each policy with these options of 'pagoda {command}', too; may be given several times")
    parser.add_argument("--loads", default="0.8,1.1,1.5", help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=requests, help="of a run (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=seeds, help="default: %(default)s")
    parser.add_argument("--options", default="", help=f"further options of 'pagoda {command}', in one string")
    parser.add_argument("--plots", default="", metavar="FOLDER",
                        help="write SVG files there, of the first seed, and what each run's requests went through, as JSON lines")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Refuses traces that nobody knows, and begins the table."""
    options = parser.parse_args()
    for kind in options.traces.split(","):
        if kind not in KINDS:
            parser.error(f"no trace '{kind}'; known are {', '.join(KINDS)}")
    if not options.json:
        print("| " + " | ".join(HEADING) + " |\n|" + "---|" * len(HEADING), flush=True)
    return options


def rows_of(options: argparse.Namespace) -> dict[str, list[str]]:
    """What is compared: the options of pagoda by the name of a row."""
    return {
        f"{policy} {name}".strip(): ["--policy", policy, *shlex.split(more)]
        for policy in options.policies.split(",")
        for name, more in options.variant or [("", "")]
    }


class Comparison:
    """Runs of the rows on one trace at one load. What a run tells is written as soon as it is there: others may take an hour more."""

    def __init__(self, options: argparse.Namespace, kind: str, load: float, suffix: str = ""):
        """`suffix`: of the names of files."""
        self.options, self.kind, self.load = options, kind, load
        self.name = f"{kind}-{load:g}{suffix}"
        self.figures: dict[str, list[dict[str, float]]] = {}
        self.requests: dict[str, list[dict]] = {}
        self.reports: dict[str, dict] = {}

    def add(self, row: str, report: dict, requests: list[dict]) -> None:
        """The run of the row's next seed."""
        figures = self.figures.setdefault(row, [])
        figures.append(figures_of(report))
        if len(figures) == 1:
            self.requests[row], self.reports[row] = requests, report
        if len(figures) == self.options.seeds:
            print_row(self.options, self.kind, self.load, row, figures)
        if self.options.plots:
            self.write(row, len(figures), report, requests)

    def write(self, row: str, seed: int, report: dict, requests: list[dict]) -> None:
        folder = pathlib.Path(self.options.plots)
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"row": row, "seed": seed} | report), *map(json.dumps, requests)]
        (folder / f"{self.name}-{row.replace('/', '_')}-{seed}.jsonl").write_text("\n".join(lines) + "\n")
        plot(folder, self.name, self.requests, self.reports)


def print_row(options: argparse.Namespace, kind: str, load: float, policy: str, runs: list[dict[str, float]]) -> None:
    """The median of the runs and, where there are several, the smallest and the largest."""
    spread = {n: [f(run[n] for run in runs) for f in (min, statistics.median, max)] for n in FIGURES}
    if options.json:
        print(json.dumps({"trace": kind, "load": load, "policy": policy, "seeds": len(runs)} | spread), flush=True)
        return
    one = len(runs) == 1
    cells = [f"{middle:.3g}" if one else f"{middle:.3g} ({low:.3g} … {high:.3g})" for low, middle, high in spread.values()]
    print("| " + " | ".join([kind, f"{load:g}", policy, *cells]) + " |", flush=True)
