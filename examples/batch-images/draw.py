"""Draws 16 scanned pages, a quarter of them upright, and damages one: draw.py FOLDER

With --repair it draws the damaged page again.
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

TEXTS = [
    "The library is open from nine to six. On Saturdays it closes at noon. Bring your card.",
    "Dear Ms Lovelace, thank you for your letter of the third of May. We have read your notes.",
    "Minutes of the meeting. Present: Ada, Grace, Barbara. The chair opened the meeting at ten.",
]
DAMAGED = 9


def page(number):
    sheet = Image.new("RGB", (620, 877), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((60, 60), f"Page {number}", font=ImageFont.load_default(size=40), fill="black")
    font = ImageFont.load_default(size=24)
    line, y = "", 140
    for word in (TEXTS[number % len(TEXTS)] + " ").split() * 6:
        if draw.textlength(f"{line} {word}", font=font) > 500:
            draw.text((60, y), line, font=font, fill="black")
            line, y = word, y + 36
            if y > 760:
                break
        else:
            line = f"{line} {word}".strip()
    # Pillow turns counterclockwise.
    return sheet.rotate(-90 * (number % 4), expand=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"page-{number:02}.png" for number in range(1, 17)]
    if "--repair" in sys.argv[2:]:
        page(DAMAGED).save(folder / names[DAMAGED - 1])
        sys.exit()
    for number, name in enumerate(names, 1):
        page(number).save(folder / name)
    damaged = folder / names[DAMAGED - 1]
    damaged.write_bytes(damaged.read_bytes()[:2000])
    (folder / "items.jsonl").write_text("".join(json.dumps(name) + "\n" for name in names))
