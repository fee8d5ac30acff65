"""Images by brute force: a dense trapezoid along each line of sight, from the equations."""

import jax
import jax.numpy as jnp
import numpy as np

import grater
from grater.dust.disk import intensities


def intensity(disk, density, phase, x_sky, y_sky, points=60001):
    """Sum of density(q, azimuth, z) phase(cos) / d^2 along lines of sight, shape of x_sky.

    Geometry as in the conventions; the density, the phase function and the factor of the flux are
    the caller's own.
    """
    value = {row[0]: float(disk.get(row[0])) for row in disk.parameters() if row[0].count(".") == 0}
    a, e = value["semi_major_axis"], value["eccentricity"]
    angle, tilt, omega = (
        np.deg2rad(value[name])
        for name in ("position_angle", "inclination", "argument_of_pericenter")
    )
    x = -np.sin(angle) * x_sky + np.cos(angle) * y_sky
    y = np.cos(angle) * x_sky + np.sin(angle) * y_sky
    cosine = max(abs(np.cos(tilt)), 1e-12) * np.sign(np.cos(tilt) or 1.0)
    # from the midplane outwards: far beyond everything, and finest there
    u = np.linspace(-1.0, 1.0, points)
    total = np.zeros(np.shape(x_sky))
    for index in np.ndindex(total.shape):
        centre = np.clip(y[index] * np.sin(tilt) / cosine, -2.0 * a, 2.0 * a)
        l = centre + 0.02 * a * np.sinh(9.0 * u)
        step = 0.02 * a * 9.0 * np.cosh(9.0 * u) * (u[1] - u[0])
        x_disk = x[index] - value["offset_x"]
        y_disk = y[index] * np.cos(tilt) + l * np.sin(tilt) - value["offset_y"]
        z = l * np.cos(tilt) - y[index] * np.sin(tilt)
        azimuth = np.arctan2(y_disk, x_disk)
        q = np.hypot(x_disk, y_disk) * (1 + e * np.cos(azimuth - omega)) / (a * (1 - e**2))
        d = np.sqrt(x[index] ** 2 + y[index] ** 2 + l**2)
        total[index] = np.sum(step * density(np.maximum(q, 1e-3), azimuth, z) * phase(l / d) / d**2)
    return total


def henyey_greenstein(g):
    return lambda c: (1 - g**2) / (4 * np.pi * (1 + g**2 - 2 * g * c) ** 1.5)


def two_power_law(q, alpha_in, alpha_out):
    return np.sqrt(2.0 / (q ** (-2.0 * alpha_in) + q ** (-2.0 * alpha_out)))


def gaussian(z, q, scale_height, beta=1.0):
    return np.exp(-((z / (scale_height * q**beta)) ** 2))


def around(disk, number=6, seed=1):
    """Some points on the sky, up to two semi-major axes from the star, in au."""
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, number), rng.uniform(0.2, 1.6, number)
    a = float(disk.semi_major_axis)
    x, y = a * radius * np.cos(angle), a * radius * np.sin(angle)
    pa = np.deg2rad(float(disk.position_angle))
    y = y * max(abs(np.cos(np.deg2rad(float(disk.inclination)))), 0.03)
    return y * np.cos(pa) - x * np.sin(pa), x * np.cos(pa) + y * np.sin(pa)


def check_gradient(disk, paths, rtol=1e-6, curves=(None,), nodes_on="segments"):
    """Derivatives of a sum over some points in parameters of a disk are central differences."""
    x, y = (jnp.asarray(v) for v in around(disk))
    weight = jnp.asarray(np.random.default_rng(4).uniform(1.0, 2.0, x.shape))
    values = {path: np.asarray(disk.get(path)) for path in paths}

    @jax.jit
    def total(values):
        (images,) = intensities([disk.set(values)], x, y, grater.Rule(1e-8, nodes_on), curves)
        return jnp.sum(weight[None] * images) * 1e3

    slopes = jax.jit(jax.grad(total))(values)
    for path, value in values.items():
        for index in np.ndindex(value.shape):
            step = np.zeros(value.shape)
            step[index] = 1e-5 * (abs(value[index]) or 1.0)
            above, below = (float(total({**values, path: value + s})) for s in (step, -step))
            expected = (above - below) / (2.0 * step[index])
            np.testing.assert_allclose(slopes[path][index], expected, rtol=rtol, err_msg=path)
            assert expected != 0.0, path
