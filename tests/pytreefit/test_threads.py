import os
import subprocess
import sys
import threading

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytreefit import Model, map_models, param, threads, vary
from pytreefit.threads import cores, in_threads, linear_algebra, sharing


class Line(Model):
    slope: jax.Array = param()


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)


def name(_):
    return threading.current_thread().name


FORK = """
import os, warnings
import jax
from pytreefit import Model, fit, jit, load, param, sample
from pytreefit.threads import in_threads

class Line(Model):
    slope: jax.Array = param()

one = jit(lambda line: line.slope)
one(Line(1.0))
warnings.simplefilter("ignore")  # JAX's own
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    for use in (lambda: Line(2.0), lambda: one(None), lambda: in_threads(one, []),
                lambda: load("x"), lambda: sample(None, None)):
        try:
            use()
        except RuntimeError as error:
            print(error, flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_forked_process_says_so_instead_of_waiting_for_ever():
    command = [sys.executable, "-c", FORK]
    out = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    assert out.count("This process was forked from one that had run JAX") == 5
    assert out.count("multiprocessing.get_context('spawn')") == 5


def test_two_are_worked_on_at_once_and_stay_in_order():
    both = threading.Barrier(2, timeout=30)

    def wait(item):
        both.wait()  # passes once two have come
        return item

    assert in_threads(wait, range(6)) == list(range(6))


def test_an_error_reaches_the_caller():
    def fail(item):
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        in_threads(fail, range(3))


def test_workers_do_not_wait_for_each_other():
    nested = in_threads(lambda item: in_threads(lambda k: 10 * item + k, range(2)), range(3))
    assert nested == [[0, 1], [10, 11], [20, 21]]


def test_a_context_of_the_caller_is_kept():
    # another precision or a transformation belongs to the caller's thread
    here = threading.current_thread().name
    assert here not in in_threads(name, range(2))
    with jax.enable_x64(jnp.result_type(float) != np.float64):
        assert in_threads(name, range(2)) == [here, here]

    def f(x):
        assert in_threads(name, range(2)) == [here, here]
        return x

    jax.grad(f)(1.0)
    jax.jit(f)(1.0)


@pytest.mark.parametrize("transform", [eqx.filter_jit, lambda f: f])
def test_mapping_inside_of_a_gradient(transform):
    lines = vary(Line(1.0), {"slope": np.arange(5.0)})

    def total(scale):
        return jnp.sum(map_models(lambda line: scale * line.slope, lines))

    assert float(jax.grad(transform(total))(2.0)) == 10.0


def test_there_is_at_least_one_core():
    assert cores() >= 1


def _numbers_of_threads():
    return {library["num_threads"] for library in linear_algebra().info()}


def test_linear_algebra_uses_one_thread_while_every_core_has_work():
    before = _numbers_of_threads()
    with linear_algebra().limit(limits=2):
        seen = in_threads(lambda _: max(_numbers_of_threads()), range(4))
        assert _numbers_of_threads() == {2}
    assert set(seen) == {1}
    assert _numbers_of_threads() == before


def test_threads_of_linear_algebra_come_back_after_the_last_of_two_that_overlap():
    inside, outside = threading.Event(), threading.Event()

    def other():
        with sharing(2):
            inside.set()
            outside.wait()

    with linear_algebra().limit(limits=2):
        one = threading.Thread(target=other)
        with sharing(2):
            one.start()
            inside.wait()
        assert _numbers_of_threads() == {1}
        outside.set()
        one.join()
        assert _numbers_of_threads() == {2}
