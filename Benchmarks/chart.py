"""Draws docs/images/cpu-per-request.svg: the platform's processor time per request by part of the road. The figures stand below; run it after changing them."""

import os

# Microseconds per request: name of the state, then by part.
STATES = [
    (
        "first half, busy machine",
        {
            "gateway and HTTP": 67, "dequeuer": 53, "event loops": 55, "store, writing": 73, "store, reading": 12,
            "tasks, hints, timers": 9,
        },
    ),
]
COLORS = {
    "gateway and HTTP": "#4c78a8",
    "store, writing": "#f58518",
    "store, reading": "#eeca3b",
    "dequeuer": "#54a24b",
    "event loops": "#72b7b2",
    "tasks, hints, timers": "#b279a2",
    "other": "#bab0ac",
}
GOAL = 160
WIDTH, LEFT, BAR, GAP, TOP = 860, 190, 34, 22, 60


def text(x, y, words, size=13, anchor="start", color="#222"):
    return f'<text x="{x:.0f}" y="{y:.0f}" font-family="sans-serif" font-size="{size}" text-anchor="{anchor}" fill="{color}">{words}</text>'


def main():
    most = max(max(sum(parts.values()) for _, parts in STATES), GOAL)
    scale = (WIDTH - LEFT - 70) / most
    height = TOP + len(STATES) * (BAR + GAP) + 70
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        text(20, 28, "Processor time of the platform per request, µs (submit, run, store, one poll)", 16),
    ]
    y = TOP
    for name, parts in STATES:
        lines.append(text(LEFT - 10, y + BAR / 2 + 5, name, anchor="end"))
        x = float(LEFT)
        for part, value in parts.items():
            lines.append(f'<rect x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="{BAR}" fill="{COLORS[part]}"/>')
            if value * scale > 26:
                lines.append(text(x + value * scale / 2, y + BAR / 2 + 5, f"{value:.0f}", 12, "middle", "white"))
            x += value * scale
        lines.append(text(x + 8, y + BAR / 2 + 5, f"{sum(parts.values()):.0f}"))
        y += BAR + GAP
    goal = LEFT + GOAL * scale
    lines.append(f'<line x1="{goal:.1f}" y1="{TOP - 12}" x2="{goal:.1f}" y2="{y}" stroke="#c00" stroke-dasharray="4 4"/>')
    lines.append(text(goal + 4, TOP - 6, f"wanted: {GOAL}", 12, color="#c00"))
    x = 20
    for part, color in COLORS.items():
        lines.append(f'<rect x="{x}" y="{y + 16}" width="12" height="12" fill="{color}"/>')
        lines.append(text(x + 17, y + 27, part, 12))
        x += 30 + 7 * len(part)
    lines.append("</svg>")
    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "images")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "cpu-per-request.svg"), "w") as file:
        file.write("\n".join(lines) + "\n")


main()
