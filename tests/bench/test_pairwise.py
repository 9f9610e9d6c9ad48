"""Arithmetic, options and parsing of bench/compare.py, against programs that are scripts."""

from __future__ import annotations

import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from pairwise import install  # noqa: E402
from pairwise.comparison import Comparison, Spread, best_of_each_turn, compare, ratios  # noqa: E402
from pairwise.peers import find_peers, parse_peers, parse_vllm  # noqa: E402
from pairwise.process import BenchError, run  # noqa: E402
from pairwise.programs import HUGE_PAGES, Job, LlamaBench, batched_args, batched_speed, bench_speed  # noqa: E402
from pairwise.shapes import Kind, Shape, ShapeLists, parse_depths, parse_numbers  # noqa: E402

DECODE = Shape(Kind.DECODE, 128)
JOB = Job("m.gguf", 2, 1)

# A llama-bench and llama-batched-bench in one: says what it was called with, in the form of their results.
FAKE = """#!{python}
import json, os, sys
if "--help" in sys.argv:
    print({help!r})
else:
    with open({log!r}, "a") as log:
        print(json.dumps([sys.argv[1:], os.environ.get("GLIBC_TUNABLES")]), file=log)
    if "-npl" in sys.argv:
        table = sys.stderr if "-rtr" in sys.argv else sys.stdout
        print("main: n_kv_max = 640\\n", file=table)
        print("|    PP |     TG | S_PP t/s | S_TG t/s |\\n|-------|--------|----------|----------|", file=table)
        print("|   128 |     32 |     9.00 |    44.50 |\\n", file=table)
    else:
        speeds = [10.0, 30.0, 20.0] if "-rtr" in sys.argv or "-lm" in sys.argv else [25.0]
        print("some build line\\n[\\n" + json.dumps({{"samples_ts": speeds}}) + "]")
"""
LLAMA_HELP = "-d, --n-depth <n>\n--no-warmup"
IK_HELP = "-gp <pp,tg>\n-w, --warmup <0|1>\n-rtr, --run-time-repack <0|1>"


class Fake:
    """A program of the test; `measure` gives its values in turn."""

    def __init__(self, name, values, error=None):
        self.name, self.values, self.error = name, list(values), error

    def measure(self, job, shape):
        if self.error:
            raise BenchError(self.error)
        return self.values.pop(0)


class Arithmetic(unittest.TestCase):
    def test_ratios_pair_the_turns(self):
        self.assertEqual(ratios([10, 30], [5, 10]), [2, 3])
        with self.assertRaises(ValueError):
            ratios([1, 2], [1])

    def test_the_best_peer_is_that_of_each_turn(self):
        peers = [[1.0, 5.0, 3.0], [2.0, 4.0, 3.5]]
        self.assertEqual(best_of_each_turn(peers, higher_is_better=True), [2.0, 5.0, 3.5])
        self.assertEqual(best_of_each_turn(peers, higher_is_better=False), [1.0, 4.0, 3.0])

    def test_spreads_and_ratios_of_a_comparison(self):
        comparison = Comparison(DECODE, [40.0, 60.0, 50.0], {"a": [20.0, 20.0, 25.0], "b": [10.0, 30.0, 10.0]})
        self.assertEqual(comparison.ratio_to("a"), Spread(2.0, 2.0, 3.0))
        self.assertEqual(comparison.ratio_to_best(), Spread(2.0, 2.0, 2.0))
        self.assertEqual(comparison.best_peer(), "a")
        result = json.loads(json.dumps(comparison.to_object()))
        self.assertEqual(result["pagoda"], {"min": 40.0, "median": 50.0, "max": 60.0})
        self.assertEqual(result["peers"]["b"]["ratio"], {"min": 2.0, "median": 4.0, "max": 5.0})
        self.assertEqual((result["best_peer"], result["rounds"], result["unit"]), ("a", 3, "tokens/s"))
        lines = comparison.lines()
        self.assertEqual(len(lines), 4)
        self.assertIn("40.0 / 50.0 / 60.0", lines[0])
        self.assertIn("2.00 / 2.00 / 2.00", lines[3])

    def test_less_is_better_for_time_and_memory(self):
        comparison = Comparison(Shape(Kind.START), [0.5], {"slow": [2.0], "quick": [1.0]})
        self.assertEqual(comparison.best_peer(), "quick")
        self.assertEqual(comparison.ratio_to_best(), Spread(0.5, 0.5, 0.5))

    def test_without_peers_there_is_no_ratio(self):
        result = Comparison(DECODE, [1.0], {}).to_object()
        self.assertNotIn("ratio_to_best", result)


class Turns(unittest.TestCase):
    def test_programs_alternate(self):
        order = []

        class Logged(Fake):
            def measure(self, job, shape):
                order.append(self.name)
                return super().measure(job, shape)

        peers = [Logged("a", [3, 4]), Logged("b", [5, 6])]
        comparison = compare(JOB, DECODE, Logged("pagoda", [1, 2]), peers, 2, print_not)
        self.assertEqual(order, ["pagoda", "a", "b"] * 2)
        self.assertEqual((comparison.ours, comparison.peers), ([1, 2], {"a": [3, 4], "b": [5, 6]}))

    def test_a_peer_that_fails_or_cannot_is_left_out_and_named(self):
        said = []
        peers = [Fake("broken", [], "it crashed"), Fake("unable", [None])]
        peers += [Fake("late", [7, None]), Fake("fine", [7, 8])]
        comparison = compare(JOB, DECODE, Fake("pagoda", [1, 2]), peers, 2, said.append)
        self.assertEqual(comparison.peers, {"fine": [7, 8]})
        for text in ("without broken: it crashed", "without unable", "without late"):
            self.assertTrue(any(text in line for line in said), text)

    def test_our_own_failure_ends_the_comparison(self):
        with self.assertRaises(BenchError):
            compare(JOB, DECODE, Fake("pagoda", [], "no model"), [Fake("a", [1])], 1, print_not)


def print_not(text):
    del text


class Shapes(unittest.TestCase):
    def test_lists(self):
        self.assertEqual(parse_numbers("512, 2048"), [512, 2048])
        self.assertEqual(parse_numbers("0"), [])
        self.assertEqual(parse_depths("0,4096"), [0, 4096])
        for parse, text in ((parse_numbers, "x"), (parse_numbers, "-1"), (parse_depths, ""), (parse_depths, "-1")):
            with self.assertRaises(ValueError):
                parse(text)

    def test_every_kind_gives_rows(self):
        shapes = ShapeLists([512], [128], [0, 4096], [4, 16], True, [4096]).shapes()
        self.assertEqual(
            [str(shape) for shape in shapes],
            ["prefill 512", "decode 128", "decode 128 at 4096", "batch of 4", "batch of 16", "start to first token",
             "memory at 4096"],
        )  # fmt: skip
        self.assertEqual(ShapeLists([], [], [0], [], False, []).shapes(), [])


class Peers(unittest.TestCase):
    def test_names_options_and_variables(self):
        plain, ik = parse_peers("/opt/llama-bench; ik=/ik/llama-bench -rtr 1 GLIBC_TUNABLES=a.b=1 -ctk 'q8 0'\n")
        self.assertEqual((plain.name, plain.path), ("llama.cpp", "/opt/llama-bench"))
        self.assertEqual((plain.args, plain.environment), (None, None))
        self.assertEqual((ik.name, ik.path), ("ik", "/ik/llama-bench"))
        self.assertEqual(ik.args, ["-rtr", "1", "-ctk", "q8 0"])
        self.assertEqual(ik.environment, {"GLIBC_TUNABLES": "a.b=1"})
        self.assertEqual(parse_peers(""), [])
        with self.assertRaises(BenchError):
            parse_peers("a=/x;a=/y")

    def test_a_folder_stands_for_the_program_in_it(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(parse_peers(f"x={folder}")[0].path, folder + "/llama-bench")

    def test_installed_peers_are_found_when_they_are_complete(self):
        with tempfile.TemporaryDirectory() as folder:
            environment = {"PAGODA_PEERS": folder}
            self.assertEqual(find_peers(environment), [])
            install.llama_folder(environment).mkdir()
            install.openvino_folder(environment).mkdir()
            self.assertEqual(find_peers(environment), [])
            (install.llama_folder(environment) / install.DONE).write_text("")
            (install.openvino_folder(environment) / install.DONE).write_text("")
            self.assertEqual([peer.name for peer in find_peers(environment)], ["llama.cpp", "openvino"])
            environment["PAGODA_PEER_LLAMA_BENCH"] = "llama.cpp=/mine;ik=/ik"
            found = find_peers(environment)
            self.assertEqual([peer.name for peer in found], ["llama.cpp", "ik", "openvino"])
            self.assertEqual(found[0].path, "/mine")

    def test_vllm_has_a_folder_of_its_own(self):
        with tempfile.TemporaryDirectory() as folder:
            script = pathlib.Path(folder, "python")
            script.write_text(f"#!{sys.executable}\nimport json, sys\n" 'print(json.dumps({"prefill": 7, "decode": sys.argv[2:]}))')
            script.chmod(script.stat().st_mode | stat.S_IXUSR)
            with self.assertRaisesRegex(BenchError, "config.json"):
                parse_vllm(f"{script} {folder}")
            pathlib.Path(folder, "config.json").touch()
            (peer,) = find_peers({"PAGODA_PEERS": folder, "PAGODA_PEER_VLLM": f"{script} {folder}"})
            self.assertEqual(peer.name, "vllm")
            self.assertEqual(peer.measure(JOB, Shape(Kind.PREFILL, 512)), 7)
            asked = peer.measure(JOB, Shape(Kind.BATCH, 32, 128, 4))
            self.assertEqual(asked[0], folder)
            self.assertEqual(dict(zip(asked[1::2], asked[2::2])), {
                "--threads": "2", "--repeat": "1", "--prompt": "128", "--generate": "32", "--sequences": "4"})
        self.assertIsNone(parse_vllm(""))
        with self.assertRaisesRegex(BenchError, "two words"):
            parse_vllm("/python")

    def test_folder_of_peers(self):
        self.assertEqual(install.peers_folder({"XDG_CACHE_HOME": "/c"}), pathlib.Path("/c/pagoda/peers"))
        self.assertEqual(install.peers_folder({"HOME": "/h"}), pathlib.Path("/h/.cache/pagoda/peers"))


class LlamaBenchOptions(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.log = self.folder / "log"

    def make(self, help_text, **options):
        for name in ("llama-bench", "llama-batched-bench"):
            path = self.folder / name
            path.write_text(FAKE.format(python=sys.executable, help=help_text, log=str(self.log)))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return LlamaBench("x", str(self.folder / "llama-bench"), **options)

    def last_call(self):
        return json.loads(self.log.read_text().splitlines()[-1])

    def test_llama_cpp(self):
        peer = self.make(LLAMA_HELP)
        self.assertEqual(peer.measure(JOB, Shape(Kind.PREFILL, 512, 100)), 20.0)
        words, tunables = self.last_call()
        self.assertEqual(" ".join(words), "-m m.gguf -t 2 -p 512 -n 0 -d 100 -r 1 -o json -lm none -fa on")
        self.assertEqual(tunables, HUGE_PAGES["GLIBC_TUNABLES"])
        self.assertEqual(peer.measure(JOB, Shape(Kind.BATCH, 32, 128, 4)), 44.5)
        self.assertEqual(
            " ".join(self.last_call()[0]),
            "-m m.gguf -t 2 -c 640 -npp 128 -ntg 32 -npl 4 -lm none -fa on",
        )
        self.assertGreater(peer.measure(JOB, Shape(Kind.START)), 0)
        self.assertIn("--no-warmup", self.last_call()[0])
        self.assertGreater(peer.measure(JOB, Shape(Kind.MEMORY, depth=4096)), 1)
        words, tunables = self.last_call()
        self.assertEqual(words[words.index("-c") + 1], "4096")
        self.assertIsNone(tunables)

    def test_ik_llama_cpp(self):
        peer = self.make(IK_HELP)
        peer.measure(JOB, Shape(Kind.DECODE, 64, 4096))
        self.assertEqual(
            " ".join(self.last_call()[0]), "-m m.gguf -t 2 -p 0 -n 0 -gp 4096,64 -r 1 -o json -rtr 1 -mmp 0 -fa 1"
        )
        self.assertIsNone(peer.measure(JOB, Shape(Kind.PREFILL, 512, 4096)))
        self.assertEqual(peer.measure(JOB, Shape(Kind.BATCH, 32, 128, 4)), 44.5)
        self.assertEqual(self.last_call()[0][-4:], ["-rtr", "--no-mmap", "-fa", "on"])

    def test_prompts_of_ik_llama_cpp_are_the_faster_of_two_ways(self):
        peer = self.make(IK_HELP)
        self.assertEqual(peer.measure(JOB, Shape(Kind.PREFILL, 512)), 25.0)
        calls = [json.loads(line)[0] for line in self.log.read_text().splitlines()]
        self.assertEqual([call[-2:] for call in calls], [["-fa", "1"]] * 2)
        self.assertEqual(["-rtr" in call for call in calls], [True, False])

    def test_given_options_replace_ours(self):
        peer = self.make(IK_HELP, args=["-fa", "0"], environment={})
        peer.measure(JOB, DECODE)
        words, tunables = self.last_call()
        self.assertEqual(words[-4:], ["-o", "json", "-fa", "0"])
        self.assertIsNone(tunables)

    def test_spellings_of_the_batched_program(self):
        self.assertEqual(batched_args(["-rtr", "0", "-mmp", "1", "-fa", "auto", "-x"]), ["-fa", "auto", "-x"])

    def test_outputs_without_results(self):
        for parse in (bench_speed, batched_speed):
            with self.assertRaises(BenchError):
                parse("nothing\n")


class Processes(unittest.TestCase):
    def test_output_time_and_memory(self):
        result = run([sys.executable, "-c", "x = b'1' * (1 << 26); print(len(x))"])
        self.assertEqual(result.output, "67108864\n")
        self.assertGreater(result.peak_mib, 64)
        self.assertGreater(result.seconds, 0)

    def test_failures_are_sentences(self):
        with self.assertRaisesRegex(BenchError, "ended with 3.*the reason"):
            run([sys.executable, "-c", "import sys; print('the reason', file=sys.stderr); sys.exit(3)"])
        with self.assertRaisesRegex(BenchError, "No such file"):
            run(["/no/such/program"])


class CommandLine(unittest.TestCase):
    def compare(self, *words, **environment):
        with tempfile.TemporaryDirectory() as empty:
            variables = {**os.environ, "PAGODA_PEERS": empty, "PAGODA_PEER_LLAMA_BENCH": "", **environment}
            command = [sys.executable, str(BENCH / "compare.py"), *words]
            return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)

    def test_help_and_wrong_usage(self):
        self.assertIn("--prefill", self.compare("--help").stdout)
        self.assertEqual(self.compare("--model", "m", "--rounds", "0").returncode, 2)
        self.assertEqual(self.compare("--model", "m", "--prefill", "x").returncode, 2)

    def test_without_peers_it_says_how_to_get_them(self):
        result = self.compare("--model", "m")
        self.assertEqual(result.returncode, 1)
        self.assertIn("make bench-peers", result.stderr)
        result = self.compare("--model", "m", "--peers", "b", PAGODA_PEER_LLAMA_BENCH="a=/x")
        self.assertIn("no peer 'b'; known are: a", result.stderr)


if __name__ == "__main__":
    unittest.main()
