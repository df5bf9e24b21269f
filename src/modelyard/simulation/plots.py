"""Outcomes as a picture (SVG): memory over time, and cold starts over memory. Owns the drawing; reckons nothing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from modelyard.simulation.outcome import Outcome
from modelyard.units import GIB

WIDTH, HEIGHT, LEFT, TOP, BELOW = 640, 260, 70, 40, 50
COLOURS = ("#2563eb", "#dc2626", "#16a34a", "#9333ea", "#ea580c", "#0891b2", "#4b5563", "#ca8a04")
Point = tuple[float, float]
Line = tuple[str, Sequence[Point]]


def plot_comparison(title: str, outcomes: Sequence[Outcome]) -> str:
    """Both pictures, one below the other; a colour for each policy."""
    over_time = [(each.policy, [(s.at_s / 3600, s.held_bytes / GIB) for s in each.samples]) for each in outcomes]
    figures = [(each.policy, [(each.gb_hours, 100 * each.cold_share)]) for each in outcomes]
    return picture(
        [
            chart(0, f"{title}: memory held", "hours", "GB", over_time),
            chart(1, f"{title}: cold starts and what they are saved with", "GB hours", "% cold", figures),
        ]
    )


def picture(charts: Sequence[str]) -> str:
    """Charts, one below the other."""
    height = len(charts) * (HEIGHT + TOP + BELOW) + 20
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + LEFT + 190}" height="{height}" '
        'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *charts, "</svg>", ""])


def chart(row: int, title: str, across: str, up: str, lines: Sequence[Line]) -> str:
    """Lines over common axes that begin at 0; a point where a line has only one."""
    points = [point for _, line in lines for point in line]
    most_x = max((x for x, _ in points), default=0.0) * 1.05 or 1.0
    most_y = max((y for _, y in points), default=0.0) * 1.05 or 1.0
    top = row * (HEIGHT + TOP + BELOW) + TOP
    parts = [
        f'<text x="{LEFT}" y="{top - 14}" font-weight="bold">{escape(title)}</text>',
        f'<path d="M{LEFT} {top}V{top + HEIGHT}H{LEFT + WIDTH}" fill="none" stroke="#374151"/>',
        f'<text x="{LEFT + WIDTH / 2:.0f}" y="{top + HEIGHT + 36}">{escape(across)}</text>',
        f'<text x="6" y="{top + 12}">{escape(up)}</text>',
    ]
    for part in range(5):
        x, y = LEFT + WIDTH * part / 4, top + HEIGHT * (1 - part / 4)
        parts.append(f'<text x="{x - 10:.0f}" y="{top + HEIGHT + 18}">{most_x * part / 4:.3g}</text>')
        parts.append(f'<text x="{LEFT - 44}" y="{y + 4:.0f}">{most_y * part / 4:.3g}</text>')
    for number, (name, line) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        spots = [(LEFT + WIDTH * x / most_x, top + HEIGHT * (1 - y / most_y)) for x, y in line]
        if len(spots) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        if len(spots) < 20:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in spots]
        parts.append(
            f'<text x="{LEFT + WIDTH + 12}" y="{top + 14 + 16 * number}" fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join(parts)
