"""Draws the demo's input: an invoice, a rotated sign, a blank page, and a file that is not an image."""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont


def font(size):
    return ImageFont.load_default(size=size)


def invoice():
    page = Image.new("RGB", (900, 620), "white")
    draw = ImageDraw.Draw(page)
    draw.text((60, 50), "INVOICE 2026-0417", font=font(44), fill="black")
    lines = [("Scanning, 1,200 pages", "480.00"), ("Text recognition", "960.50"), ("Delivery", "12.00")]
    for row, (what, price) in enumerate(lines):
        draw.text((60, 170 + row * 70), what, font=font(32), fill="black")
        draw.text((680, 170 + row * 70), price, font=font(32), fill="black")
    draw.line((60, 400, 840, 400), fill="black", width=3)
    draw.text((60, 430), "Total due EUR", font=font(36), fill="black")
    draw.text((660, 430), "1452.50", font=font(36), fill="black")
    return page


def sign():
    board = Image.new("RGB", (520, 220), "#ffd200")
    ImageDraw.Draw(board).text((60, 70), "WET FLOOR", font=font(64), fill="black")
    return board.rotate(14, expand=True, fillcolor="#888888")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    invoice().save(folder / "invoice.png")
    sign().save(folder / "sign.jpg", quality=90)
    Image.new("RGB", (600, 800), "white").save(folder / "blank.png")
    (folder / "notes.txt").write_text("This is a text file, not an image.\n")
