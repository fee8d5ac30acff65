"""Covariances of simulated channels against the kernels.

    python benchmarks/channels.py [--stars 2000]

Stars with spots drawn at random: the flux, the radial velocity (rotation and convection) and an
indicator are integrals over the visible caps of the spots, of which the kernels know nothing. Their
covariances at every lag, over all stars and times, are compared with the kernels in units of their
Monte-Carlo errors (from the scatter of the stars), and of the geometric mean of both variances.
"""

import argparse
import itertools

import common
import jax
import numpy as np

import spotgp

INCLINATIONS = (0.4, 1.0, float(np.pi / 2))
STEP, TIMES, LAGS = 0.5, 64, 24
SPOTS = {"nspot_rate": 0.5, "fspot": 0.0, "alpha_max": 0.05}
LIMB = 0.4, 0.2


def channels():
    limb = spotgp.QuadraticLimbDarkening(*LIMB)
    return {
        "flux": spotgp.FluxBand(1.0, limb),
        "rv": spotgp.RadialVelocity(2000.0, contrast=0.8, convective=300.0, limb=limb),
        "indicator": spotgp.ActivityIndicator(2.0),  # on the uniform disk of the star
    }


def star(inc):
    return spotgp.SpotEvolutionModel(
        envelope=spotgp.TrapezoidSymmetricEnvelope(lspot=5.0, tau_spot=2.0),
        visibility=spotgp.VisibilityFunction(peq=4.0, kappa=0.3, inc=inc),
        **SPOTS,
    )


def compare(inc, stars, key):
    model, kinds = star(inc), channels()
    t = STEP * np.arange(TIMES)
    curves = spotgp.simulate_channels(model, key, t, kinds, stars)
    curves = {name: np.asarray(values) - np.mean(values) for name, values in curves.items()}
    kernel = spotgp.ChannelKernel(model, kinds)
    lags = STEP * np.arange(LAGS)
    for first, second in itertools.product(kinds, kinds):
        expected = np.asarray(kernel.kernel(lags, first, second))
        zero = [float(kernel.kernel(0.0, name, name)) for name in (first, second)]
        each = np.stack(
            [
                np.mean(curves[first][:, : TIMES - k] * curves[second][:, k:], axis=1)
                for k in range(LAGS)
            ]
        )
        error = each.std(axis=1) / stars**0.5
        away = (each.mean(axis=1) - expected) / error
        yield {
            "inclination": inc,
            "channels": f"{first} | {second}",
            "largest, Monte-Carlo errors": float(np.max(np.abs(away))),
            "root mean square, Monte-Carlo errors": float(np.sqrt(np.mean(away**2))),
            "largest, of both variances": float(
                np.max(np.abs(away * error)) / np.prod(zero) ** 0.5
            ),
            "largest Monte-Carlo error, of both variances": float(
                np.max(error) / np.prod(zero) ** 0.5
            ),
            "largest covariance, of both variances": float(
                np.max(np.abs(expected)) / np.prod(zero) ** 0.5
            ),
        }


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--stars", type=int, default=2000)
    stars = parser.parse_args().stars
    jax.config.update("jax_enable_x64", True)
    rows = []
    for k, inc in enumerate(INCLINATIONS):
        rows += compare(inc, stars, jax.random.key(k))
    for row in rows:
        print("  ".join(v if isinstance(v, str) else f"{v:.4f}" for v in row.values()))
    common.record("channels", rows, stars=stars, spots=SPOTS)


if __name__ == "__main__":
    main()
