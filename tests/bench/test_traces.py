"""Synthetic traces: lengths, arrivals, prefixes, and the most that a prefix cache can save."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from traces.arrivals import arrivals  # noqa: E402
from traces.comparison import Comparison, add_options, rows_of  # noqa: E402
from traces.kinds import KINDS, Knobs  # noqa: E402
from traces.simulation import SimulationError, Simulator  # noqa: E402
from traces.lengths import AZURE_CODE_LIKE, AZURE_CONV_LIKE, PERCENTS, SHAREGPT_LIKE, Quantiles  # noqa: E402
from traces.trace import Request, classify, most_cached_tokens, read, write  # noqa: E402


def tokens_of(request: Request, index: int) -> list[tuple[str, int]]:
    """A prompt spelt out: what the prefix and the rest of its own stand for."""
    tokens = [(group, position) for group, count in request.prefix for position in range(count)]
    return tokens + [(f"own{index}", position) for position in range(request.prompt_tokens - len(tokens))]


class Lengths(unittest.TestCase):
    def test_quantiles_are_met(self) -> None:
        for percent, tokens in zip(PERCENTS, AZURE_CONV_LIKE.prompt.tokens):
            self.assertEqual(AZURE_CONV_LIKE.prompt.at(percent), tokens)

    def test_between_quantiles_lengths_ascend(self) -> None:
        values = [SHAREGPT_LIKE.output.at(percent / 10) for percent in range(1001)]
        self.assertEqual(values, sorted(values))

    def test_means_are_the_published_ones(self) -> None:
        for quantiles, mean in ((SHAREGPT_LIKE.prompt, 161), (SHAREGPT_LIKE.output, 338), (AZURE_CONV_LIKE.prompt, 1155),
                                (AZURE_CONV_LIKE.output, 211), (AZURE_CODE_LIKE.prompt, 2048), (AZURE_CODE_LIKE.output, 27.9)):
            found = statistics.mean(quantiles.at((i + 0.5) / 200) for i in range(20000))
            self.assertLess(abs(found / mean - 1), 0.13, f"{found} instead of {mean}")

    def test_lengths_that_do_not_ascend_are_refused(self) -> None:
        with self.assertRaises(ValueError):
            Quantiles((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 11))


class Arrivals(unittest.TestCase):
    def gaps(self, cv: float, minute_cv: float) -> list[float]:
        times = list(itertools.islice(arrivals(random.Random(1), 2.0, cv, minute_cv), 40000))
        self.assertEqual(times, sorted(times))
        return [b - a for a, b in zip([0.0, *times], times)]

    def test_rate_and_burstiness(self) -> None:
        for cv in (0.5, 1.0, 2.0):
            gaps = self.gaps(cv, 0.0)
            self.assertAlmostEqual(statistics.mean(gaps), 0.5, delta=0.02)
            self.assertAlmostEqual(statistics.pstdev(gaps) / statistics.mean(gaps), cv, delta=0.06 * cv)

    def test_minutes_differ(self) -> None:
        def minute_cv(gaps: list[float]) -> float:
            counts: dict[int, int] = {}
            for time in itertools.accumulate(gaps):
                counts[int(time // 60)] = counts.get(int(time // 60), 0) + 1
            full = list(counts.values())[:-1]
            return statistics.pstdev(full) / statistics.mean(full)

        self.assertLess(minute_cv(self.gaps(1.0, 0.0)), 0.13)
        self.assertGreater(minute_cv(self.gaps(1.0, 0.79)), 0.5)


class Kinds(unittest.TestCase):
    def test_same_arguments_same_trace(self) -> None:
        for name, make in KINDS.items():
            with self.subTest(name):
                self.assertEqual(make(Knobs(200, 1.0, seed=3)), make(Knobs(200, 1.0, seed=3)))
                self.assertNotEqual(make(Knobs(200, 1.0, seed=3)), make(Knobs(200, 1.0, seed=4)))

    def test_requests_are_whole(self) -> None:
        for name, make in KINDS.items():
            with self.subTest(name):
                requests = make(Knobs(300, 2.0))
                self.assertEqual(len(requests), 300)
                self.assertEqual([r.arrival for r in requests], sorted(r.arrival for r in requests))
                for request in requests:
                    self.assertGreaterEqual(request.prompt_tokens, max(1, request.prefix_tokens()))
                    self.assertGreaterEqual(request.output_tokens, 1)

    def test_another_rate_gives_the_same_lengths(self) -> None:
        slow, fast = (KINDS["azure-conv-like"](Knobs(100, rate)) for rate in (0.1, 10.0))
        self.assertEqual([r.prompt_tokens for r in slow], [r.prompt_tokens for r in fast])

    def test_bounds_hold(self) -> None:
        for name in ("sharegpt-like", "azure-code-like", "multi-turn", "agent"):
            for request in KINDS[name](Knobs(300, 1.0, max_prompt=2500, max_output=100)):
                self.assertLessEqual(request.prompt_tokens, 2520 if name == "agent" else 2500)
                self.assertLessEqual(request.output_tokens, 100)

    def test_one_long_among_shorts(self) -> None:
        requests = KINDS["adversarial"](Knobs(100, 1.0))
        self.assertEqual([i for i, r in enumerate(requests) if r.kind == "long"], [4])

    def test_turns_repeat_what_was_said(self) -> None:
        chats: dict[str, list[Request]] = {}
        for request in KINDS["multi-turn"](Knobs(300, 1.0)):
            chats.setdefault(request.key, []).append(request)
        longest = max(chats.values(), key=len)
        self.assertGreater(len(longest), 3)
        for before, after in zip(longest, longest[1:]):
            self.assertEqual(after.prefix[: len(before.prefix)], before.prefix)

    def test_classes_are_by_length(self) -> None:
        requests = KINDS["sharegpt-like"](Knobs(1000, 1.0))
        classify(requests)
        counts = {kind: sum(r.kind == kind for r in requests) for kind in ("short", "medium", "long")}
        self.assertAlmostEqual(counts["short"], 500, delta=10)
        self.assertAlmostEqual(counts["long"], 100, delta=10)


class File(unittest.TestCase):
    def test_what_is_written_is_read(self) -> None:
        requests = KINDS["agent"](Knobs(50, 1.0))
        classify(requests)
        for request in requests:
            request.arrival = round(request.arrival, 6)
        text = io.StringIO()
        write(requests, {"trace": "agent"}, text)
        self.assertEqual(read(text.getvalue().splitlines()), ({"trace": "agent"}, requests))

    def test_command(self) -> None:
        command = [sys.executable, str(BENCH / "make_trace.py"), "few-shot", "--requests", "20", "--seed", "7"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        header, requests = read(done.stdout.splitlines())
        self.assertEqual((header["trace"], header["seed"], header["generator"], len(requests)), ("few-shot", 7, 1, 20))
        wrong = subprocess.run([*command, "--rate", "0"], capture_output=True, text=True, check=False)
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("--rate", wrong.stderr)


class MostCached(unittest.TestCase):
    def by_trie(self, requests: list[Request]) -> int:
        """Total tokens less the nodes of a trie of tokens; whole repetitions compute one token each."""
        seen: set[tuple] = set()
        cached = 0
        for index, request in enumerate(requests):
            tokens = tokens_of(request, index)
            node, known = hash(()), 0
            for token in tokens:
                node = hash((node, token))
                known += node in seen
                seen.add(node)
            cached += min(known, len(tokens) - 1)
        return cached

    def test_equals_a_trie_of_tokens(self) -> None:
        for name in ("few-shot", "multi-turn", "agent", "shared-prefix", "sharegpt-like"):
            with self.subTest(name):
                requests = KINDS[name](Knobs(120, 1.0, max_prompt=3000))
                self.assertEqual(most_cached_tokens(requests), self.by_trie(requests))

    def test_groups_of_different_length(self) -> None:
        requests = [Request(0, 60, 1, [("a", 20), ("b", 10)]), Request(1, 60, 1, [("a", 40)]), Request(2, 60, 1, [("a", 20), ("b", 10)]),
                    Request(3, 40, 1, [("a", 40)])]
        self.assertEqual(most_cached_tokens(requests), self.by_trie(requests))
        self.assertEqual(most_cached_tokens(requests), 20 + 30 + 39)


# A `pagoda simulate` that says how it was called and how many lines its trace has, and refuses one policy.
FAKE = """#!{python}
import json, sys
if "bad" in sys.argv:
    print("pagoda: error: no such policy", file=sys.stderr)
    sys.exit(2)
lines = open(sys.argv[sys.argv.index("--trace") + 1]).readlines()
print(json.dumps({{"arguments": sys.argv[4:], "lines": len(lines), "seconds": 8.0, "all": {{"completed": 20}}}}))
"""


class Simulations(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        program = pathlib.Path(self.folder.name) / "pagoda"
        program.write_text(FAKE.format(python=sys.executable))
        program.chmod(0o755)
        self.simulator = Simulator(str(program), "costs.json", ("--kv-tokens", "64"))

    def tearDown(self) -> None:
        self.folder.cleanup()

    def test_trace_and_options_are_handed_over(self) -> None:
        requests, report = self.simulator.run("agent", Knobs(20, 1.0), "--policy", "fcfs")
        self.assertEqual((len(requests), report["lines"]), (20, 21))
        self.assertEqual(report["arguments"], ["--cost-model", "costs.json", "--json", "--kv-tokens", "64", "--policy", "fcfs"])

    def test_capacity_is_requests_by_time(self) -> None:
        self.assertEqual(self.simulator.capacity("mixed", Knobs(20, 1.0)), 2.5)

    def test_refusals_are_told(self) -> None:
        with self.assertRaisesRegex(SimulationError, "no such policy"):
            self.simulator.run("mixed", Knobs(20, 1.0), "--policy", "bad")


def report(jct: float) -> dict:
    """Of two requests, one of which failed."""
    group = {"requests": 2, "completed": 1, "jct": {"mean": jct}, "queue_share": 0.5, "forecast_error": {"p50": 0.25}}
    return {"all": group, "classes": {"short": group}, "output_tokens_per_second": 9.0}


class Comparisons(unittest.TestCase):
    REQUESTS = [{"class": "short", "jct": 2.0, "ttft": 1.0, "isolated": 0.5}, {"class": "short", "error": "HTTP 500"}]

    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()

    def tearDown(self) -> None:
        self.folder.cleanup()

    def comparison(self, *words: str) -> Comparison:
        parser = argparse.ArgumentParser()
        add_options(parser, "serve", requests=1, seeds=1)
        return Comparison(parser.parse_args(words), "mixed", 1.1, "-served")

    def printed(self, comparison: Comparison, row: str, jct: float) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            comparison.add(row, report(jct), self.REQUESTS)
        return out.getvalue()

    def test_a_row_is_printed_with_its_last_seed(self) -> None:
        comparison = self.comparison("--seeds", "3")
        self.assertEqual([self.printed(comparison, row, jct) for row, jct in (("fcfs", 1), ("mlfq", 9), ("fcfs", 2))], [""] * 3)
        row = self.printed(comparison, "fcfs", 4)
        self.assertIn("| mixed | 1.1 | fcfs | 2 (1 … 4) |", row)
        self.assertIn("| 0.25 (0.25 … 0.25) |", row)

    def test_what_a_run_told_is_there_before_the_next_one(self) -> None:
        comparison = self.comparison("--plots", self.folder.name, "--json")
        self.assertEqual(json.loads(self.printed(comparison, "mlfq a/b", 3))["jct mean"], [3, 3, 3])
        folder = pathlib.Path(self.folder.name)
        lines = (folder / "mixed-1.1-served-mlfq a_b-1.jsonl").read_text().splitlines()
        self.assertEqual(json.loads(lines[0]), {"row": "mlfq a/b", "seed": 1} | report(3))
        self.assertEqual([json.loads(line) for line in lines[1:]], self.REQUESTS)
        self.assertIn("mlfq a/b", (folder / "mixed-1.1-served-jct.svg").read_text())
        self.printed(comparison, "fcfs", 5)
        plot = (folder / "mixed-1.1-served-jct.svg").read_text()
        self.assertTrue("mlfq a/b" in plot and "fcfs" in plot)


class Rows(unittest.TestCase):
    def rows(self, *words: str) -> dict[str, list[str]]:
        parser = argparse.ArgumentParser()
        add_options(parser, "simulate", requests=1, seeds=1)
        return rows_of(parser.parse_args(words))

    def test_a_row_is_a_policy(self) -> None:
        self.assertEqual(self.rows("--policies", "fcfs,mlfq"), {"fcfs": ["--policy", "fcfs"], "mlfq": ["--policy", "mlfq"]})

    def test_each_policy_has_each_variant(self) -> None:
        rows = self.rows("--policies", "fcfs,mlfq", "--variant", "ahead=", "--variant", "small=--kv-tokens 64 --no-kv-ahead")
        self.assertEqual(list(rows), ["fcfs ahead", "fcfs small", "mlfq ahead", "mlfq small"])
        self.assertEqual(rows["mlfq ahead"], ["--policy", "mlfq"])
        self.assertEqual(rows["mlfq small"], ["--policy", "mlfq", "--kv-tokens", "64", "--no-kv-ahead"])

    def test_variants_have_names(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as errors, self.assertRaises(SystemExit):
            self.rows("--variant", "small")
        self.assertIn("no name", errors.getvalue())


if __name__ == "__main__":
    unittest.main()
