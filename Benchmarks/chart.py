"""Draws docs/images/peers.svg, which compares Cortex with other systems. Run it after changing the figures."""

import os

# Title, unit, and the value of each system.
GROUPS = [
    ("Completed requests per second, submit to stored result", "", [("Cortex", 16454), ("Dramatiq, Redis", 1016), ("LitServe, no queue", 858)]),
    ("Durable submits per second, 64 connections, worked off meanwhile", "", [("Cortex", 23220), ("Dramatiq, Redis", 1409), ("LitServe, not durable", 1004)]),
    ("Processor time of the platform per request", " ms", [("Cortex", 0.107), ("Dramatiq, Redis", 1.653), ("LitServe, no queue", 1.373)]),
]
WIDTH, LEFT, RIGHT, BAR, GAP, TITLE = 860, 180, 90, 20, 6, 44


def text(x, y, words, size=13, anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" font-family="sans-serif" font-size="{size}" text-anchor="{anchor}" fill="#222">{words}</text>'


def main():
    lines, y = [], 0
    for title, unit, bars in GROUPS:
        lines.append(text(20, y + 30, title, 15))
        y += TITLE
        most = max(value for _, value in bars)
        for name, value in bars:
            width = (WIDTH - LEFT - RIGHT) * value / most
            color = "#4c78a8" if name == "Cortex" else "#bab0ac"
            lines.append(text(LEFT - 10, y + 15, name, anchor="end"))
            lines.append(f'<rect x="{LEFT}" y="{y}" width="{max(width, 1):.1f}" height="{BAR}" fill="{color}"/>')
            lines.append(text(LEFT + width + 8, y + 15, f"{value:,}{unit}"))
            y += BAR + GAP
    height = y + 14
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">'
    lines = [head, f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *lines, "</svg>"]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(root, "docs/images/peers.svg"), "w") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
