"""KLIP and its linear perturbation, against pyKLIP and against differences."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import grater
from factories import make_disk
from grater import KLIP, FrameSequence, KLIPBasis, Observation, ReducedFrames
from pytreefit import Posterior, fit

from .conftest import DATA

SHAPE = 21, 21
ANGLES = np.linspace(0.0, 70.0, 7)
VIEW = {"psf": grater.GaussianPSF(2.0, size=9), "accuracy": 1e-3, "nodes_on": "surfaces"}
SETUP = {"pixel_scale": 0.12, "distance": 60.0}
GRID = grater.Grid(SHAPE, **SETUP)
SCENE = grater.Scene(make_disk(semi_major_axis=40.0, flux=1.0), grid=GRID, **VIEW)


@pytest.fixture(scope="module")
def oracle():
    """Random references, frame and faint disks, and what pyKLIP 2.10.1 makes of them.

    ``subtracted_k`` is ``pyklip.klip.klip_math(frame, references, k)``; with the eigenvalues and
    vectors that it returns, ``perturbed_k`` is the first result of ``pyklip.fm.calculate_fm`` for
    the components of ``pyklip.fm.perturb_specIncluded``, for k = 1 and 4 components.
    """
    with np.load(DATA / "klip.npz") as file:
        return dict(file)


@pytest.mark.parametrize("modes", [1, 4])
def test_klip_and_its_perturbation_are_those_of_pyklip(oracle, modes):
    basis = KLIPBasis.of(oracle["references"], modes, complete=False)
    subtracted = basis.subtracted(jnp.asarray(oracle["frame"]))
    expected = oracle[f"subtracted_{modes}"]
    np.testing.assert_allclose(subtracted, expected, atol=1e-10 * np.max(np.abs(expected)))
    parts = (jnp.asarray(oracle[name]) for name in ("frame", "model", "models"))
    expected = oracle[f"perturbed_{modes}"]
    np.testing.assert_allclose(
        basis.perturbed(*parts), expected, atol=1e-9 * np.max(np.abs(expected))
    )


@pytest.mark.parametrize("modes", [1, 4])
def test_the_complete_perturbation_is_the_derivative(oracle, modes):
    frame, model, references, models = (
        oracle[k] for k in ("frame", "model", "references", "models")
    )
    step = 1e-5
    above, below = (
        np.asarray(KLIPBasis.of(references + s * models, modes).subtracted(frame + s * model))
        for s in (step, -step)
    )
    centred = model - model.mean(), models - models.mean(axis=1, keepdims=True)
    slopes = [
        np.asarray(
            KLIPBasis.of(references, modes, complete).perturbed(
                jnp.asarray(frame), *map(jnp.asarray, centred)
            )
        )
        for complete in (True, False)
    ]
    difference = (above - below) / (2.0 * step)
    np.testing.assert_allclose(slopes[0], difference, atol=1e-6 * np.max(np.abs(difference)))
    # what pyKLIP leaves out is not nothing
    assert np.max(np.abs(slopes[1] - difference)) > 1e-3 * np.max(np.abs(difference))


# --- reduced images ---


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(8)
    y, x = np.indices(SHAPE) - 10
    halo = np.exp(-np.hypot(x, y) / 5.0)
    patterns = halo * rng.normal(size=(3, *SHAPE))
    image = 3.0 * halo + np.tensordot(rng.normal(size=(7, 3)), patterns, 1)
    image = image + 0.02 * rng.normal(size=image.shape)
    references = np.tensordot(rng.normal(size=(4, 3)), patterns, 1) + 3.0 * halo
    references = references + 0.02 * rng.normal(size=references.shape)
    return FrameSequence(image, 0.02, angles=ANGLES, references=references, **SETUP)


@pytest.mark.parametrize(
    "klip",
    [
        KLIP(2, annuli=(2, 6, 10), sections=2, movement=1.5),
        KLIP(3, library="references"),
        KLIP(3, annuli=(2, 10), movement=2.0, library="both"),
    ],
)
def test_a_reduced_disk_is_the_derivative_of_the_reduction(frames, klip):
    faint = SCENE.set({"disk.flux": 1.0})
    reduced = ReducedFrames.of(frames, klip, None)
    step = 1e-3 / float(frames.models(faint).max())
    light = step * frames.models(faint)
    above, below = (
        np.asarray(
            ReducedFrames.of(frames.set({"image": frames.image + s * light}), klip, None).picture()
        )
        for s in (1.0, -1.0)
    )
    expected = (above - below) / (2.0 * step)
    found = np.asarray(reduced.model(faint))
    seen = np.isfinite(expected)
    assert seen.sum() > 100
    np.testing.assert_array_equal(seen, np.isfinite(found))
    np.testing.assert_allclose(found[seen], expected[seen], atol=1e-3 * np.nanmax(np.abs(expected)))


def test_a_fit_to_a_reduced_image_finds_a_faint_disk(frames):
    """Without noise but for the starlight, and with an image that was reduced elsewhere."""
    truth = 0.02 / float(frames.models(SCENE).max())
    scene = SCENE.set({"disk.flux": truth})
    klip = KLIP(2, annuli=(2, 10), movement=1.5)
    nothing = ReducedFrames.of(frames, klip, None)
    with_disk = frames.set({"image": frames.image + frames.models(scene)})
    image = ReducedFrames.of(with_disk, klip, None).picture()
    difference = Observation(image - nothing.picture(), 1e-3, **SETUP)
    everywhere = difference.set({"image": np.nan_to_num(difference.image)})
    reduced = ReducedFrames.of(frames, klip, everywhere)
    assert reduced.reduced.n_used == difference.n_used < everywhere.n_used
    priors = {"disk.flux": (0.1 * truth, 10.0 * truth), "disk.inclination": (40.0, 80.0)}
    start = scene.set({"disk.flux": 2.0 * truth, "disk.inclination": 57.0})
    best = fit(Posterior(start, reduced.log_likelihood, priors), progress=False)
    assert best.converged
    assert float(best.values["disk.flux"]) == pytest.approx(truth, rel=0.01)
    assert float(best.values["disk.inclination"]) == pytest.approx(60.0, abs=0.3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda f: KLIPBasis.of(np.ones((3, 9)), 1), "are sums of only 0 images"),
        (lambda f: KLIPBasis.of(np.eye(3), 5), "modes = 5, but the references are sums of only 2"),
        (lambda f: KLIPBasis.of(np.ones(3), 1), "references has shape (3,) but must be two-dim"),
        (lambda f: KLIPBasis.of([[np.nan, 1.0]], 1), "pixels that are not finite: drop them"),
        (lambda f: ReducedFrames.of(f, KLIP(2, rotation=80.0), None), "reference for frame 0 (mov"),
        (
            lambda f: ReducedFrames.of(f.set({"references": None}), KLIP(1, library="both"), None),
            "but the frames have no references",
        ),
        (
            lambda f: ReducedFrames.of(f, KLIP(1), Observation(np.ones((3, 3)), 1.0, **SETUP)),
            "reduced has shape (3, 3) but must have shape (21, 21)",
        ),
        (
            lambda f: ReducedFrames.of(
                f, KLIP(1), Observation(np.ones(SHAPE), 1.0, **SETUP, center=(9.5, 10.0))
            ),
            "reduced has center = [ 9.5 10. ], the frames [10. 10.]",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(frames, build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(frames)
