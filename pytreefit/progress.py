"""Progress of long computations: who is told, how often, and how chunks are paced."""

import sys
import time
from collections.abc import Callable

_PERIOD = 2.0  # seconds between two lines of progress, roughly
CHUNK = 50  # most steps per call of a compiled chunk: the size of its output buffers


class Reporter:
    """Passes lines of progress on.

    With True they go to standard error, one every few seconds; with False nowhere; a function gets
    every line. TypeError for anything else.
    """

    def __init__(self, progress: bool | Callable[[str], object]):
        if not (callable(progress) or isinstance(progress, bool)):
            raise TypeError(
                f"progress = {progress!r} must be True, False or a function of one line of text."
            )
        self._progress = progress
        self._last = time.perf_counter()

    def __call__(self, line: str, *, final: bool = False) -> None:
        """Pass on a line; a ``final`` one, which ends a phase, in any case."""
        if callable(self._progress):
            self._progress(line)
        elif self._progress and (final or time.perf_counter() - self._last > _PERIOD):
            self._last = time.perf_counter()
            print(line, file=sys.stderr, flush=True)


class Pace:
    """Chooses how many steps the next chunk takes, so that a chunk lasts about two seconds.

    The results must not depend on it: only the places where the work can be interrupted do.
    """

    def __init__(self):
        self._steps = 1
        self._count = 1
        self._start = time.perf_counter()

    def begin(self, remaining: int) -> int:
        """Start the clock and return the number of steps to do now."""
        self._count = min(self._steps, remaining)
        self._start = time.perf_counter()
        return self._count

    def end(self) -> float:
        """Stop the clock, adapt the next chunk's length and return the seconds taken."""
        seconds = time.perf_counter() - self._start
        affordable = int(self._count * _PERIOD / max(seconds, 1e-9))
        self._steps = max(1, min(affordable, 4 * self._steps, CHUNK))
        return seconds


def duration(seconds: float) -> str:
    """Seconds in words that fit a progress line: ``"8.1 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
