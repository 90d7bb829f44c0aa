#!/usr/bin/env python3
"""Draws what `run.py` measured: tiny calls per second of every system, on a logarithmic scale.

    python3 benches/peers/run.py --json peers.json
    python3 benches/peers/plot.py peers.json docs/performance/peers.svg
"""

from __future__ import annotations

import html
import json
import math
import sys
from pathlib import Path

from run import BURLA, COLUMNS, SYSTEMS, figure

ROW, LEFT, WIDTH, TOP = 34, 250, 470, 44
DECADES = range(1, 7)


def main() -> None:
    source, target = (Path(argument) for argument in sys.argv[1:3])
    rounds = json.loads(source.read_text())["rounds"]
    column = next(column for column in COLUMNS if column.job == "tiny")
    figures = [(system, figure(rounds.get(system.name, []), column)) for system in SYSTEMS]
    bars = [(system, value) for system, value in figures if value]
    target.write_text("\n".join(drawing(bars)) + "\n")


def drawing(bars: list) -> list[str]:
    height = TOP + ROW * len(bars) + 30
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 110} {height}" font-family="sans-serif" font-size="13">'
    lines = [head, f'<rect width="100%" height="{height}" fill="white"/>']
    lines.append('<text x="12" y="22" font-size="15">Tiny calls per second on the same two CPUs (logarithmic)</text>')
    for decade in DECADES:
        x = LEFT + position(10**decade)
        lines.append(f'<line x1="{x:.0f}" y1="{TOP - 8}" x2="{x:.0f}" y2="{height - 26}" stroke="#ddd"/>')
        lines.append(f'<text x="{x:.0f}" y="{height - 8}" text-anchor="middle" fill="#666">{10**decade:,}</text>')
    for number, (system, value) in enumerate(bars):
        y = TOP + ROW * number
        color = "#d1495b" if system.name == BURLA.name else "#7a8ca3"
        label = html.escape(system.label)
        lines.append(f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{label}</text>')
        lines.append(f'<rect x="{LEFT}" y="{y}" width="{position(value):.0f}" height="22" fill="{color}"/>')
        lines.append(f'<text x="{LEFT + position(value) + 6:.0f}" y="{y + 16}">{value:,.0f}</text>')
    return [*lines, "</svg>"]


def position(value: float) -> float:
    first, last = DECADES[0], DECADES[-1]
    return max(math.log10(value) - first, 0.0) / (last - first) * WIDTH


if __name__ == "__main__":
    main()
