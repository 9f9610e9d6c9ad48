"""SVG plots: well formed, and drawn where the values are."""

from __future__ import annotations

import pathlib
import sys
import unittest
import xml.etree.ElementTree as ElementTree

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from traces import svg  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


class Plots(unittest.TestCase):
    def points(self, line: ElementTree.Element) -> list[tuple[float, float]]:
        return [tuple(map(float, point.split(","))) for point in line.get("points").split()]

    def test_distribution_ascends_to_all(self) -> None:
        figure = ElementTree.fromstring(svg.distribution("a < b", "seconds", {"fcfs": [3.0, 1.0, 100.0, 10.0], "mlfq": [1.0]}))
        lines = figure.findall(f"{SVG}polyline")
        self.assertEqual(len(lines), 2)
        points = self.points(lines[0])
        self.assertEqual(points, sorted(points, key=lambda point: (point[0], -point[1])))
        # From the left edge at 1 to the right one at 100; 10 lies in the middle of the logarithmic axis.
        self.assertEqual([round(x) for x, _ in (points[0], points[2], points[3])], [svg.LEFT, (svg.LEFT + svg.WIDTH - svg.RIGHT) // 2, svg.WIDTH - svg.RIGHT])
        self.assertAlmostEqual(points[3][1], svg.TOP)
        self.assertIn("a < b", [text.text for text in figure.findall(f"{SVG}text")])

    def test_values_of_one_size_are_drawn(self) -> None:
        ElementTree.fromstring(svg.distribution("", "", {"fcfs": [1.0, 1.0]}))
        ElementTree.fromstring(svg.distribution("", "", {"fcfs": [0.0]}))

    def test_bars_are_as_high_as_their_shares(self) -> None:
        figure = ElementTree.fromstring(svg.bars("t", {"short": {"fcfs": 0.8, "mlfq": 0.2}, "long": {"fcfs": 1.5, "mlfq": -1.0}}))
        heights = [float(bar.get("height")) for bar in figure.findall(f"{SVG}rect")[1:]]
        full = svg.HEIGHT - svg.TOP - svg.BOTTOM
        for height, share in zip(heights, (0.8, 0.2, 1.0, 0.0), strict=True):
            self.assertAlmostEqual(height, share * full, delta=0.06)


if __name__ == "__main__":
    unittest.main()
