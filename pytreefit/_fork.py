"""Processes that were forked from one that had run JAX: a sentence instead of a hang."""

import os
import sys

_forked = False


def _notice() -> None:
    """After a fork, in the child."""
    global _forked
    bridge = sys.modules.get("jax._src.xla_bridge")
    # no public name says it without starting the backends, whose threads are lost in the child
    _forked = _forked or bool(getattr(bridge, "_backends", None))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_notice)


def refuse_fork() -> None:
    """RuntimeError in a process that was forked from one that had run JAX."""
    if _forked:
        raise RuntimeError(
            "This process was forked from one that had run JAX, whose threads do not live on in "
            "it: it would wait for ever. Start processes by "
            "multiprocessing.get_context('spawn'), or before the first use of JAX."
        )
