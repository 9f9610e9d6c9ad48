"""Plots as SVG text, without a library: distributions as lines, shares as bars."""

from __future__ import annotations

import math
from html import escape

WIDTH, HEIGHT = 420, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 28, 40
COLOURS = ("#1b6ca8", "#d1495b", "#2e933c", "#8d6a9f", "#e0a030", "#555555", "#00798c", "#b5651d")


def distribution(title: str, unit: str, series: dict[str, list[float]]) -> str:
    """Share of the values that are at most x, over a logarithmic axis."""
    positive = [value for values in series.values() for value in values if value > 0]
    low = math.floor(math.log10(min(positive, default=1.0)))
    high = max(math.ceil(math.log10(max(positive, default=1.0))), low + 1)

    def x_of(value: float) -> float:
        share = (math.log10(max(value, 10**low)) - low) / (high - low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y_of(share: float) -> float:
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [_text(LEFT, 18, title, "start", 13)]
    for power in range(low, high + 1):
        parts += [_line(x_of(10**power), TOP, x_of(10**power), HEIGHT - BOTTOM), _text(x_of(10**power), HEIGHT - 24, f"{10.0**power:g}")]
    for tenth in range(0, 11, 2):
        parts += [_line(LEFT, y_of(tenth / 10), WIDTH - RIGHT, y_of(tenth / 10)), _text(LEFT - 6, y_of(tenth / 10) + 4, f"{tenth / 10:g}", "end")]
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 8, unit))
    for index, (name, values) in enumerate(series.items()):
        ordered = sorted(values)
        points = " ".join(f"{x_of(value):.1f},{y_of((i + 1) / len(ordered)):.1f}" for i, value in enumerate(ordered))
        colour = COLOURS[index % len(COLOURS)]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{points}"/>')
        parts.append(_text(WIDTH - RIGHT - 4, TOP + 14 + 14 * index, name, "end", 11, colour))
    return _figure(parts)


def bars(title: str, groups: dict[str, dict[str, float]]) -> str:
    """A group of bars for each class, a bar for each policy, from 0 to 1."""
    parts = [_text(LEFT, 18, title, "start", 13)]
    for tenth in range(0, 11, 2):
        y = HEIGHT - BOTTOM - tenth / 10 * (HEIGHT - TOP - BOTTOM)
        parts += [_line(LEFT, y, WIDTH - RIGHT, y), _text(LEFT - 6, y + 4, f"{tenth / 10:g}", "end")]
    width = (WIDTH - LEFT - RIGHT) / max(len(groups), 1)
    for group_index, (group, values) in enumerate(groups.items()):
        begin = LEFT + group_index * width
        parts.append(_text(begin + width / 2, HEIGHT - 24, group))
        for index, (name, value) in enumerate(values.items()):
            bar = 0.8 * width / len(values)
            height = max(0.0, min(value, 1.0)) * (HEIGHT - TOP - BOTTOM)
            x = begin + 0.1 * width + index * bar
            colour = COLOURS[index % len(COLOURS)]
            parts.append(f'<rect x="{x:.1f}" y="{HEIGHT - BOTTOM - height:.1f}" width="{bar * 0.92:.1f}" height="{height:.1f}" fill="{colour}"/>')
            if group_index == 0:
                parts.append(_text(LEFT + 60 * index + 4, HEIGHT - 8, name, "start", 11, colour))
    return _figure(parts)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle", size: int = 11, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'


def _figure(parts: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *parts, "</svg>"]) + "\n"
