"""A fit in a thread, whose progress can be looked at, and which can be stopped."""

import threading
from collections.abc import Mapping
from typing import Any

from ..arrays import check_kind
from ..optimize.fit import Fit, fit
from ..posterior import Posterior


class BackgroundFit:
    """A :func:`pytreefit.fit` that runs while other things go on.

    Parameters
    ----------
    posterior
        What to maximise.
    start
        Values of the free parameters by path.
    **options
        As for `fit`, but ``progress``.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import Model, Posterior, param
    >>> class Line(Model):
    ...     slope: jax.Array = param(unit="m / s")
    >>> posterior = Posterior(Line(2.0), lambda line: -((line.slope - 1) ** 2), {"slope": (0, 9)})
    >>> running = BackgroundFit(posterior, {"slope": 3.0})
    >>> round(float(running.result().values["slope"]), 2), running.running
    (1.0, False)
    """

    def __init__(self, posterior: Posterior, start: Mapping[str, Any], **options):
        check_kind("posterior", posterior, Posterior)
        #: the lines of progress so far
        self.lines: list[str] = []
        self._found: Fit | BaseException | None = None
        self._stopped = threading.Event()
        arguments = {**options, "start": dict(start), "progress": self._tell}
        self._thread = threading.Thread(
            target=self._run, args=(posterior,), kwargs=arguments, daemon=True
        )
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let it end after the steps that it is doing, with the best values so far."""
        self._stopped.set()

    def result(self, timeout: float | None = None) -> Fit:
        """Wait for the end, and return the fit.

        Raises
        ------
        TimeoutError
            Where it goes on after so many seconds.
        ValueError, TypeError
            What the fit refused.
        """
        self._thread.join(timeout)
        if self.running:
            raise TimeoutError(f"the fit has not ended after {timeout:g} s")
        if isinstance(self._found, BaseException):
            raise self._found
        assert self._found is not None
        return self._found

    def _run(self, posterior: Posterior, **options) -> None:
        try:
            self._found = fit(posterior, **options)
        except BaseException as error:  # of the thread, for whoever asks for the result
            self._found = error

    def _tell(self, line: str) -> None:
        self.lines.append(line)
        if self._stopped.is_set() and line.startswith("fit: step"):
            raise KeyboardInterrupt  # as Ctrl-C does between two steps; the end is told, too
