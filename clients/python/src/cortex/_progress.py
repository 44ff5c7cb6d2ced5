"""A progress line, only on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import IO, Callable, Optional


def is_wanted(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that can move its cursor."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") != "dumb"
    except (AttributeError, ValueError):
        return False


class Progress:
    """`ocr  ━━━━━━━━━━━━────────  60/100  2 failed  12/s  4 s left`, redrawn at most ten times a second."""

    _PERIOD = 0.1

    def __init__(
        self,
        title: str,
        total: Optional[int],
        shown: Optional[bool] = None,
        stream: Optional[IO[str]] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._shown = is_wanted(self._stream) if shown is None else shown
        self._title, self._total, self._clock = title, total, clock
        self._start = clock()
        self._drawn_at: Optional[float] = None
        self._has_color = not os.environ.get("NO_COLOR") and is_wanted(self._stream)
        self.done = 0
        self.failed = 0

    @property
    def is_shown(self) -> bool:
        return self._shown

    def step(self, *, failed: bool = False) -> None:
        """Counts a request that has ended."""
        self.show(self.done + 1, self._total, self.failed + failed)

    def show(self, done: int, total: Optional[int], failed: int) -> None:
        """Draws the present state."""
        self.done, self._total, self.failed = done, total, failed
        now = self._clock()
        if self._shown and (self._drawn_at is None or now - self._drawn_at >= self._PERIOD):
            self._drawn_at = now
            self._write("\r\x1b[2K" + self.line(now, shutil.get_terminal_size().columns))

    def close(self) -> None:
        """Ends the line; the last state stays visible."""
        if self._shown and self.done:
            self._write("\r\x1b[2K" + self.line(self._clock(), shutil.get_terminal_size().columns) + "\n")
        self._shown = False

    def line(self, now: float, width: int) -> str:
        """The text; never wider than the terminal."""
        seconds = max(now - self._start, 1e-9)
        rate = self.done / seconds
        parts = [f"{self.done}/{self._total}" if self._total is not None else f"{self.done} done"]
        if self.failed:
            parts.append(self._colored(f"{self.failed} failed", "31"))
        parts.append(f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        if self._total is not None and 0 < self.done < self._total:
            parts.append(f"{_duration((self._total - self.done) / rate)} left")
        else:
            parts.append(_duration(seconds))
        text = "  ".join(parts)
        plain = len(text) - (len(self._colored("", "31")) if self.failed else 0)
        bar = ""
        room = min(40, width - 1 - len(self._title) - plain - 4)
        if self._total and room >= 10:
            full = room * min(self.done, self._total) // self._total
            bar = self._colored("━" * full, "32") + self._colored("─" * (room - full), "2") + "  "
        line = f"{self._title}  {bar}{text}"
        return line if bar or len(self._title) + 2 + plain < width else text

    def _colored(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._has_color else text

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._shown = False


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} m {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} m"
