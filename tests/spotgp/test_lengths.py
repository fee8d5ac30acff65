"""Light curves of many lengths in one process, which would end it if each had its own programs."""

import subprocess
import sys

import numpy as np

import spotgp
from factories import make_star
from spotgp.solvers.points import filled_up

LENGTHS = """
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import spotgp
from pytreefit._xla import memory_maps

programs = []
def listen(event, seconds, **details):
    if event == "/jax/core/compile/backend_compile_duration":
        programs.append(details["fun_name"])
jax.monitoring.register_event_duration_secs_listener(listen)

star = spotgp.SpotEvolutionModel(
    envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=6.0, tau_spot=2.0),
    visibility=spotgp.VisibilityFunction(peq=4.0, kappa=0.2, inc=1.0),
    sigma_k=0.01,
)
rng = np.random.default_rng(0)
for n in range(600, 680, 2):
    t = 0.1 * np.arange(n)
    flux = 1.0 + 0.01 * np.sin(1.5 * t) + 1e-3 * rng.normal(size=n)
    gp = spotgp.GPSolver(t, flux, 1e-3, star, solver="dense")
    if n % 40 == 0:
        assert np.isfinite(gp.grad_log_posterior()).all()
        assert np.isfinite(gp.predict(t[:5]).mean).all()
    assert np.isfinite(gp.log_posterior())
print(len(programs), programs.count("jit(_log_posterior)"), memory_maps())
"""


def test_forty_lengths_in_one_process():
    run = subprocess.run(
        [sys.executable, "-c", LENGTHS], check=True, capture_output=True, text=True
    )
    every, of_posteriors, maps = map(int, run.stdout.split())
    assert of_posteriors <= 6
    assert every < 80
    assert maps < 4_000


def test_predictions_at_few_times_share_a_length():
    lengths = {filled_up(np.arange(float(number))).size for number in (1, 7, 23, 64)}
    assert len(lengths) == 1
    t = np.arange(40.0)
    gp = spotgp.GPSolver(t, 1.0 + 1e-2 * np.sin(t), 1e-3, make_star())
    whole = gp.predict(t + 0.3)
    for number in (1, 7, 23):
        some = gp.predict(t[:number] + 0.3)
        np.testing.assert_allclose(some.mean, whole.mean[:number], rtol=1e-12)
        np.testing.assert_allclose(some.variance, whole.variance[:number], rtol=1e-9)
