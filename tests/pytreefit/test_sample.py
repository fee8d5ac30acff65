"""Draws against closed forms; compilation, progress, checkpoints."""

import os
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import pytreefit.sampling.checkpoint as checkpoint
import pytreefit.sampling.nuts as nuts
from pytreefit import Model, Posterior, Samples, _lock, fit, laplace, param, sample, save
from pytreefit.sampling.whitening import coordinates

KEY = jax.random.key(7)
TRACES = []
pytestmark = pytest.mark.filterwarnings("ignore:R-hat")


class Mixed(Model):
    a: jax.Array = param(unit="au")
    b: jax.Array = param()
    c: jax.Array = param(shape=None)

    def vector(self):
        return jnp.concatenate([jnp.stack([self.a, self.b]), self.c])


class Gaussian(eqx.Module):
    mean: jax.Array
    whiten: jax.Array

    def residuals(self, model):
        return self.whiten @ (model.vector() - self.mean)

    def log_likelihood(self, model):
        TRACES.append(None)
        return -0.5 * jnp.sum(self.residuals(model) ** 2)


class Vector(Model):
    x: jax.Array = param(shape=None)

    def vector(self):
        return self.x


class Pair(Model):
    x: jax.Array = param()
    y: jax.Array = param(default=1.0)


SCALE = np.array([1e-4, 3.0, 1.0, 200.0])
WIDTH = 5.0  # of the priors, in units of SCALE


def gaussian(seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    whiten = (np.eye(4) + 0.7 * np.triu(rng.normal(size=(4, 4)), 1)) / SCALE
    data = Gaussian(jnp.asarray(SCALE * rng.normal(size=4), dtype), jnp.asarray(whiten, dtype))
    a, b, c = (dist.Normal(0.0, jnp.asarray(WIDTH * s)) for s in (*SCALE[:2], SCALE[2:]))
    # not in alphabetical order: names keep the order of the priors
    return Posterior(Mixed(0.0, 0.0, [0.0, 0.0]), data.log_likelihood, {"b": b, "a": a, "c": c})


def closed_form(posterior):
    """Mean and covariance in the order a, b, c."""
    data = posterior.log_likelihood.__self__
    precision = np.asarray(data.whiten).T @ np.asarray(data.whiten)
    covariance = np.linalg.inv(precision + np.diag(1 / (WIDTH * SCALE) ** 2))
    return covariance @ precision @ np.asarray(data.mean), covariance


def assert_gaussian(draws, mean, covariance, slack=5.0):
    """Mean and covariance of draws (n, dim) of which at least a third are independent."""
    width = np.sqrt(np.diag(covariance))
    error = slack / np.sqrt(len(draws) / 3)
    np.testing.assert_allclose(draws.mean(0) / width, mean / width, atol=error)
    scaled = np.cov(draws.T) / np.outer(width, width)
    np.testing.assert_allclose(scaled, covariance / np.outer(width, width), atol=1.5 * error)


def stacked(samples):
    columns = samples.columns
    return np.stack([columns[n].ravel() for n in ("a", "b", "c[0]", "c[1]")], axis=1)


@pytest.fixture(scope="module")
def posterior():
    return gaussian()


@pytest.fixture(scope="module")
def approximation(posterior):
    mean, _ = closed_form(posterior)
    return laplace(posterior, {"a": mean[0], "b": mean[1], "c": mean[2:]})


def short(posterior, **options):
    options = {"chains": 2, "warmup": 60, "draws": 60, "progress": False, **options}
    return sample(posterior, options.pop("key", KEY), **options)


@pytest.mark.parametrize(
    ("whitened", "dense"), [(True, True), (False, True), (True, False)], ids=str
)
def test_draws_follow_the_gaussian_posterior(posterior, approximation, whitened, dense):
    samples = sample(
        posterior,
        KEY,
        start=approximation if whitened else None,
        chains=2,
        warmup=300,
        draws=1500,
        dense=dense,
        progress=False,
    )
    assert_gaussian(stacked(samples), *closed_form(posterior))
    assert samples.names == ("b", "a", "c")
    assert samples.draws["c"].shape == (2, 1500, 2)
    assert samples.divergences == 0
    assert np.max(np.concatenate([np.ravel(r) for r in samples.rhat.values()])) < 1.01
    assert np.mean(samples.leapfrogs) <= 8.0
    u = posterior.unconstrain({name: x[1, 4] for name, x in samples.draws.items()})
    np.testing.assert_allclose(samples.log_density[1, 4], posterior.log_density(u), rtol=1e-9)


def test_without_preconditioning_a_fit_is_only_a_start(posterior, approximation):
    samples = short(posterior, start=approximation, precondition="none", warmup=200, draws=400)
    assert_gaussian(stacked(samples), *closed_form(posterior), slack=8.0)


def test_ten_correlated_dimensions():
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(10, 10)) + 2.0 * np.eye(10)
    data = Gaussian(jnp.asarray(rng.normal(size=10)), jnp.asarray(mixing))
    prior = dist.Normal(jnp.zeros(10), 100.0)
    posterior = Posterior(
        Vector(np.zeros(10)), data.log_likelihood, {"x": prior}, residuals=data.residuals
    )
    best = fit(posterior, "levenberg-marquardt", progress=False)
    samples = sample(posterior, KEY, start=best, draws=1000, warmup=300, progress=False)
    covariance = np.linalg.inv(mixing.T @ mixing + np.eye(10) / 1e4)
    mean = covariance @ mixing.T @ mixing @ np.asarray(data.mean)
    assert_gaussian(np.asarray(samples.draws["x"]).reshape(-1, 10), mean, covariance)
    assert np.mean(samples.leapfrogs) <= 8.0


def test_bounded_priors_and_a_maximum_at_the_edge():
    # x: density exp(5 x) on (0, 1), its maximum is at the edge; y: Gaussian in log y
    posterior = Posterior(
        Pair(0.5),
        lambda m: 5.0 * m.x - 0.5 * ((jnp.log(m.y) - 1.0) / 0.5) ** 2,
        {"x": (0, 1), "y": dist.LogNormal(0.0, 0.5)},
    )
    best = fit(posterior, progress=False)
    assert best.at_edge == ("x",)
    with pytest.warns(UserWarning, match="draws of x pile up at 1, where its prior ends"):
        samples = sample(posterior, KEY, start=best, draws=1500, warmup=300, progress=False)
    x, log_y = np.ravel(samples.draws["x"]), np.log(np.ravel(samples.draws["y"]))
    assert x.min() > 0
    assert x.max() < 1
    np.testing.assert_allclose(x.mean(), 1 / (1 - np.exp(-5)) - 1 / 5, atol=0.01)
    np.testing.assert_allclose(np.quantile(x, 0.1), np.log(1 + 0.1 * np.expm1(5)) / 5, atol=0.03)
    np.testing.assert_allclose(log_y.mean(), 0.5, atol=0.05)
    np.testing.assert_allclose(log_y.std(), 0.5 / np.sqrt(2), rtol=0.1)


def test_coordinates_start_from_the_maximum_of_what_is_sampled():
    # y is known, x left open above 0.1: the best fit of its density stands at its prior's edge
    posterior = Posterior(
        Pair(0.5),
        lambda m: -10.0 * m.x**2 - 0.5 * ((jnp.log(m.y) - 1.0) / 0.01) ** 2,
        {"x": dist.LogUniform(1e-4, 10.0), "y": dist.LogUniform(1e-3, 1e3)},
    )
    best = fit(posterior, progress=False)
    assert "x" in best.at_edge
    whitening, _ = coordinates(posterior, best, "auto")

    def log_density(v):
        return posterior.log_density(whitening.u(v))

    middle = jnp.zeros(2)
    assert np.max(np.abs(jax.grad(log_density)(middle))) < 0.5
    # the curvature is one of differences
    np.testing.assert_allclose(-jax.hessian(log_density)(middle), np.eye(2), atol=1e-3)


def test_single_precision():
    with jax.enable_x64(False):
        posterior = gaussian(dtype=np.float32)
        mean, covariance = closed_form(posterior)
        start = laplace(posterior, {"a": mean[0], "b": mean[1], "c": mean[2:]})
        samples = short(posterior, start=start, warmup=200, draws=500)
        assert samples.draws["a"].dtype == jnp.float32
        assert samples.log_density.dtype == jnp.float32
    assert_gaussian(stacked(samples), mean, covariance, slack=8.0)


def test_chains_at_once_give_the_draws_of_chains_in_turn(posterior, monkeypatch):
    options = {"chains": 2, "warmup": 20, "draws": 10}
    in_turn = short(posterior, **options)
    monkeypatch.setattr(nuts, "at_once", lambda: True)
    at_once = short(posterior, **options)
    np.testing.assert_allclose(at_once.draws["c"], in_turn.draws["c"], rtol=1e-6)


def test_the_second_run_compiles_nothing(posterior):
    first = short(posterior)
    count = len(TRACES)
    assert count > 0
    other_key = short(posterior, key=jax.random.key(8))
    other_data = short(gaussian(seed=1))
    longer = short(posterior, warmup=70, draws=80, target_acceptance=0.9)
    assert len(TRACES) == count
    assert longer.log_density.shape == (2, 80)
    assert np.any(other_key.log_density != first.log_density)
    assert np.any(other_data.log_density != first.log_density)
    again = short(posterior)
    np.testing.assert_array_equal(again.log_density, first.log_density)


def stop_at(phase, number):
    """A progress function that is interrupted at the given line of a phase."""
    lines = []

    def progress(line):
        lines.append(line)
        if sum(one.startswith(phase) for one in lines) == number:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize(("phase", "number"), [("warm-up", 1), ("warm-up", 3), ("draws", 1)])
def test_killed_and_resumed_runs_are_bitwise_the_same(posterior, tmp_path, phase, number):
    file = tmp_path / "run.npz"
    straight = short(posterior)
    with pytest.raises(KeyboardInterrupt):
        short(posterior, checkpoint=file, progress=stop_at(phase, number))
    assert file.exists()
    lines = []
    resumed = short(posterior, checkpoint=file, progress=lines.append)
    assert lines[0].startswith("resumed at step")
    assert not lines[0].startswith("resumed at step 120")
    for name in ("a", "b", "c"):
        np.testing.assert_array_equal(resumed.draws[name], straight.draws[name])
    np.testing.assert_array_equal(resumed.log_density, straight.log_density)
    np.testing.assert_array_equal(resumed.tree_depth, straight.tree_depth)
    assert resumed.step_size == straight.step_size
    # the finished checkpoint holds the result
    finished = short(posterior, checkpoint=file, progress=lines.append)
    assert lines[-1].startswith("resumed at step 120 of 120")
    np.testing.assert_array_equal(finished.draws["c"], straight.draws["c"])
    assert finished.seconds == resumed.seconds


def test_a_checkpoint_of_another_run_is_refused(posterior, tmp_path):
    file = tmp_path / "run.npz"
    short(posterior, checkpoint=file)
    with pytest.raises(ValueError, match="of another model or run: different are model or data"):
        short(gaussian(seed=1), checkpoint=file)
    with pytest.raises(ValueError, match=r"different are key\."):
        short(posterior, checkpoint=file, key=jax.random.key(1))
    with pytest.raises(ValueError, match="different are draws"):
        short(posterior, checkpoint=file, draws=70)
    save(file, posterior.model)
    with pytest.raises(ValueError, match="holds a Mixed, not a checkpoint"):
        short(posterior, checkpoint=file)


FINGERPRINT = """
import jax, numpyro.distributions as dist
from pytreefit import Model, Posterior, param
from pytreefit.sampling.checkpoint import fingerprints
class Point(Model):
    x: jax.Array = param()
    y: jax.Array = param(shape=None)
priors = {"x": dist.TruncatedNormal(0.0, 1.0, low=-2.0, high=3.0), "y": dist.LogNormal(0.0, 1.0)}
posterior = Posterior(Point(1.0, [1.0, 2.0]), lambda point: point.x, priors)
print(fingerprints(posterior, jax.random.key(0), chains=4))
"""


def test_another_process_can_resume():
    def fingerprint(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", FINGERPRINT]
        return subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout

    first = fingerprint("1")
    assert "model or data" in first
    assert fingerprint("2") == first


FEW = {"chains": 1, "warmup": 20, "draws": 4}


def one_number():
    return Posterior(Pair(0.0), pair_likelihood, {"x": dist.Normal(0.0, 1.0)})


def pair_likelihood(pair):
    return -0.5 * pair.x**2


def test_other_data_inside_a_function_are_noticed(tmp_path):
    def posterior(value):
        return Posterior(
            Pair(0.0), lambda m: -0.5 * (m.x - value) ** 2, {"x": dist.Normal(0.0, 1.0)}
        )

    file = tmp_path / "run.npz"
    options = {"chains": 1, "warmup": 20, "draws": 4, "checkpoint": file}
    short(posterior(0.0), **options)
    with pytest.raises(ValueError, match="another model: the log density where it stopped is"):
        short(posterior(1.0), **options)


def test_a_checkpoint_needs_a_plain_file_in_a_folder(posterior, tmp_path):
    with pytest.raises(ValueError, match="is for NUTS"):
        short(posterior, checkpoint=tmp_path / "run.npz", method="mixture")
    with pytest.raises(FileNotFoundError, match=r"run.npz: there is no folder .*no.*Make it first"):
        short(posterior, checkpoint=tmp_path / "no" / "run.npz")
    with pytest.raises(ValueError, match=r"is a folder: give the name of a plain file"):
        short(posterior, checkpoint=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_is_warned_of(tmp_path, monkeypatch):
    def full(path, obj):
        failed.append(path)
        if len(failed) == 1:
            raise OSError(28, "No space left on device")
        save(path, obj)

    failed, file = [], tmp_path / "run.npz"
    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.warns(UserWarning, match=r"run.npz can't be written .*No space left.*run goes on"):
        short(one_number(), checkpoint=file, **FEW)
    assert len(failed) > 1
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(_lock.fcntl is None, reason="no locks on this system")
def test_one_run_writes_a_checkpoint(tmp_path):
    file, link = tmp_path / "run.npz", tmp_path / "link.npz"
    link.symlink_to(file)

    def other_run(line):
        message = rf"in use by another run \(process {os.getpid()} on .*give another file name"
        for name in (file, link):
            with pytest.raises(ValueError, match=message):
                short(one_number(), checkpoint=name, **FEW)
        refused.append(line)

    refused = []
    short(one_number(), checkpoint=file, **FEW, progress=other_run)
    assert refused
    assert sorted(tmp_path.iterdir()) == [link, file]


KILLED = """
import os, sys, jax, numpyro.distributions as dist
from pytreefit import Model, Posterior, sample, param

compiled = []
jax.monitoring.register_event_listener(lambda event, **kwargs: compiled.append(event))

class Pair(Model):
    x: jax.Array = param()

posterior = Posterior(Pair(0.0), lambda m: -0.5 * m.x**2, {"x": dist.Normal(0.5, 2.0)})

def tell(line):
    if not os.path.exists(sys.argv[2]):
        open(sys.argv[2], "w").close()
        os.kill(os.getpid(), 9)

samples = sample(
    posterior, jax.random.key(0), chains=1, warmup=20, draws=4, checkpoint=sys.argv[1],
    progress=tell)
assert jax.config.jax_compilation_cache_dir is None  # as it was
print(compiled.count("/jax/compilation_cache/cache_hits"), float(samples.draws["x"].sum()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.filterwarnings("ignore:unclosed")
def test_a_run_that_is_killed_goes_on_with_the_same_programs(tmp_path):
    def run(name, *, killed):
        command = [sys.executable, "-W", "ignore", "-c", KILLED, f"{tmp_path / name}.npz", name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == (-9 if killed else 0), done.stderr
        return done.stdout.split()

    run("once", killed=True)
    assert (tmp_path / "once.npz.lock").exists()  # which locks nothing any more
    hits, draws = run("once", killed=False)
    assert int(hits) > 4
    assert not (tmp_path / "once.npz.lock").exists()
    (tmp_path / "straight").touch()
    assert run("straight", killed=False)[1] == draws


def test_an_interrupt_without_checkpoint_keeps_the_draws(posterior):
    with pytest.warns(UserWarning, match=r"Interrupted after \d+ of 200 draws"):
        samples = short(posterior, draws=200, progress=stop_at("draws", 2))
    drawn = samples.log_density.shape[1]
    assert 4 <= drawn < 200
    assert samples.draws["c"].shape == (2, drawn, 2)
    with pytest.raises(KeyboardInterrupt):
        short(posterior, progress=stop_at("warm-up", 2))


def test_few_draws_are_warned_of(posterior):
    with pytest.warns(UserWarning, match=r"R-hat is above 1.01 for .*chains do not agree"):
        short(posterior, warmup=20, draws=4)


def test_progress_goes_to_standard_error(posterior, capsys):
    short(posterior, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "warm-up 60/60: acceptance" in err
    assert "draws 60/60" in err


def test_times_exclude_compilation(posterior):
    samples = short(posterior)
    assert isinstance(samples, Samples)
    assert samples.seconds == samples.seconds_warmup + samples.seconds_sampling
    assert 0 < samples.seconds < 30
    assert samples.seconds_compile > 0


@pytest.mark.filterwarnings("ignore:.* trajectories diverged")
def test_points_without_density_are_drawn_anew():
    # half of the first points have the logarithm of a negative number
    posterior = Posterior(Pair(0.0), lambda m: jnp.log(0.01 - m.x), {"x": dist.Normal(0.0, 1.0)})
    samples = short(posterior, chains=8, warmup=20, draws=4)
    assert np.isfinite(samples.log_density).all()
    assert np.max(samples.draws["x"]) < 0.01


def test_a_start_without_density_is_refused():
    posterior = Posterior(Pair(0.5), lambda m: jnp.log(m.x - 2.0), {"x": (0, 1)})
    with pytest.raises(ValueError, match=r"log-likelihood is nan at the start \(x = 0.5"):
        sample(posterior, KEY, progress=False)


def test_bad_arguments_are_refused(posterior):
    for options, message in [
        ({"chains": 0}, "chains = 0 must be a whole number >= 1"),
        ({"warmup": 19}, "warmup = 19 must be a whole number >= 20"),
        ({"draws": 3}, "draws = 3 must be a whole number >= 4"),
        ({"max_depth": 0}, "max_depth = 0 must be a whole number >= 1"),
        ({"target_acceptance": 1.0}, "target_acceptance = 1.0 must be between 0 and 1"),
        (
            {"precondition": "laplace"},
            "precondition = 'laplace' is unknown: choose",
        ),
        ({"start": {"a": np.inf}}, "start of a is not inside its prior"),
    ]:
        with pytest.raises(ValueError, match=message):
            sample(posterior, KEY, **options)
    with pytest.raises(TypeError, match="must be a random key"):
        sample(posterior, 3)


def test_old_style_keys_are_taken(posterior):
    samples = short(posterior, key=jax.random.PRNGKey(7))
    np.testing.assert_array_equal(samples.log_density, short(posterior).log_density)
