"""Work of surveys that processes import."""

import os
import pathlib
import signal
import time


def described(name, task, key):
    """What a worker sees."""
    import jax
    import jax.numpy as jnp

    programs = pathlib.Path(jax.config.jax_compilation_cache_dir).parent.name
    draw = float(jax.random.normal(key))
    return {
        "sum": float(jnp.sum(jnp.arange(float(task)) / 3.0)),
        "draw": draw,
        "programs": programs,
    }


def deadly(name, task, key):
    """Kills its worker: once, if the task is the name of a file, always if it is "always"."""
    if task == "always" or (task and not os.path.exists(task)):
        if task != "always":
            pathlib.Path(task).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return {"letters": len(name)}


def precise(name, task, key):
    """The last digits of an array that was sent."""
    return {"bits": 8 * task.dtype.itemsize, "sum": float(task.sum())}
