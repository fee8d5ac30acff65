r"""
How fast, side by side
======================

At the end you will have this: the image of a disk, and its derivatives, by a few lines of NumPy and
by this package, with the error and the time of each.

.. image:: /tutorials/images/sphx_glr_plot_13_how_fast_001.png
   :alt: an image by this package, its difference to one by NumPy, and error against time of both

Errors and times are measured as this page is made, on whatever machine makes it, and with a
compiler that is told to optimise little, since there are many pages. Run it on yours. :doc:`/speed`
has careful measurements of images, fits and other packages.
"""

# %%
# The image by NumPy
# ------------------
#
# The equations are those of :doc:`/conventions`. The density of the dust, times the phase function,
# over the squared distance from the star, is summed along all lines of sight in equal steps. The
# sum has to reach far, since a line of sight may meet a tilted disk far in front of the star or
# behind it. The steps have to be short, since the disk is thin.

import time

import jax
import matplotlib.pyplot as plt
import numpy as np

import grater
import pytreefit

SIZE, PIXEL, DISTANCE = 61, 0.04, 70.0  # pixels, arcsec, pc
values = {
    "disk.semi_major_axis": 50.0,
    "disk.inclination": 65.0,
    "disk.position_angle": 30.0,
    "disk.radial.alpha_in": 10.0,
    "disk.radial.alpha_out": -6.0,
    "disk.vertical.scale_height": 1.0,
    "disk.phase.g": 0.3,
    "disk.flux": 1000.0,
}
offset = (np.arange(SIZE) - SIZE // 2) * PIXEL * DISTANCE  # au
east, north = np.meshgrid(-offset, offset)
away = np.hypot(east, north) > 0  # the integral diverges at the star


def numpy_image(values, steps):
    a, inclination, position_angle, alpha_in, alpha_out, height, g, flux = values.values()
    tilt, angle = np.radians([inclination, position_angle])
    x = (east * np.sin(angle) + north * np.cos(angle))[away]  # along the major axis
    y = (north * np.sin(angle) - east * np.cos(angle))[away]  # along the minor axis
    total = 0.0
    depth, step = np.linspace(-300.0, 300.0, steps, retstep=True)  # au
    for l in depth:
        z = l * np.cos(tilt) - y * np.sin(tilt)
        q = np.hypot(x, y * np.cos(tilt) + l * np.sin(tilt)) / a
        radial = np.sqrt(2.0 / (q ** (-2.0 * alpha_in) + q ** (-2.0 * alpha_out)))
        dust = radial * np.exp(-((z / (height * q)) ** 2))
        squared = x**2 + y**2 + l**2
        cosine = l / np.sqrt(squared)
        phase = (1.0 - g**2) / (4.0 * np.pi * (1.0 + g**2 - 2.0 * g * cosine) ** 1.5)
        total = total + dust * phase / squared
    image = np.zeros((SIZE, SIZE))
    image[away] = flux * step * total
    return image


# %%
# The image by this package
# -------------------------
#
# It puts its samples where a line of sight meets the dust (:doc:`/theory/integral`).

disk = grater.Disk(
    semi_major_axis=50.0,
    inclination=65.0,
    position_angle=30.0,
    alpha_in=10.0,
    alpha_out=-6.0,
    scale_height=1.0,
    flux=1000.0,
    phase=grater.HenyeyGreenstein(g=0.3),
)
grid = grater.Grid((SIZE, SIZE), PIXEL, DISTANCE)
render = pytreefit.jit(grater.Scene.image)

# %%
# Error and time of both
# ----------------------
#
# The reference is the image by NumPy with very many steps. It no longer changes with more of them,
# and knows nothing of this package. NumPy works in double precision here, this package in single,
# its default. Errors are relative to the brightest pixel. Times are the shortest of some calls,
# after a first one in which JAX compiles:


def timed(function, *arguments, calls=5):
    """The result of a function, and the shortest time that it took, in ms."""
    result, took = jax.block_until_ready(function(*arguments)), []
    for _ in range(calls):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        took.append(1e3 * (time.perf_counter() - start))
    return result, min(took)


exact = numpy_image(values, 3000)


def error_of(image):
    return np.abs(image - exact).max() / exact.max()


print(f"with half as many steps: {error_of(numpy_image(values, 1500)):.1e}")
rows = {"NumPy": [], "this package": []}
for steps in (100, 200, 400, 800):
    image, took = timed(numpy_image, values, steps)
    rows["NumPy"].append((f"{steps} steps", error_of(image), took))
for accuracy in (1e-1, 1e-2, 1e-4):
    scene = grater.Scene(disk, grid=grid, accuracy=accuracy)
    image, took = timed(render, scene)
    rows["this package"].append((f"accuracy={accuracy:g}", error_of(image), took))
for name, found in rows.items():
    for setting, error, took in found:
        print(f"{name:14s}{setting:16s}error {error:8.1e}{took:10.2f} ms")

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
left.imshow(np.sqrt(image), origin="lower", cmap="inferno")
left.set_title("this package")
difference, most = (image - exact) / exact.max(), error_of(image)
drawn = middle.imshow(difference, origin="lower", cmap="RdBu_r", vmin=-most, vmax=most)
middle.set_title("difference / brightest pixel")
figure.colorbar(drawn, ax=middle, shrink=0.8)
for axis in (left, middle):
    axis.set_axis_off()
for name, found in rows.items():
    _, error, took = zip(*found, strict=True)
    right.loglog(took, error, "o-", label=name)
right.set(xlabel="time (ms)", ylabel="error")
right.legend(frameon=False)
plt.show()

# %%
# Derivatives
# -----------
#
# A fit needs to know how the likelihood changes with each parameter. By finite differences it takes
# two images for each, and a step that is neither too long nor too short. JAX has the derivatives
# themselves, all in one go. Here for an image with noise, at an inclination that is 2 degrees off:

noise = 0.02 * exact.max()
data = exact + noise * np.random.default_rng(13).normal(size=exact.shape)
observation = grater.Observation(data, noise, pixel_scale=PIXEL, distance=DISTANCE)
observation = observation.mask_radius(inner=1.0)  # pixels: without the star's own
start = values | {"disk.inclination": 67.0}


def numpy_likelihood(values):
    residual = (data - numpy_image(values, 400))[away] / noise
    return -0.5 * np.sum(residual**2)


def finite_differences():
    slopes = {}
    for name, value in start.items():
        step = 1e-4 * abs(value)
        above, below = (numpy_likelihood(start | {name: value + s}) for s in (step, -step))
        slopes[name] = (above - below) / (2.0 * step)
    return slopes


def likelihood(values):
    return observation.log_likelihood(scene.set(values))


by_numpy, numpy_took = timed(finite_differences, calls=1)
gradient = pytreefit.jit(jax.grad(likelihood))
by_package, package_took = timed(gradient, start)
print(f"{'derivative in':28s}{'NumPy':>14s}{'this package':>14s}")
for name in start:
    print(f"{name:28s}{by_numpy[name]:14.4f}{float(by_package[name]):14.4f}")
print(f"{'time (ms)':28s}{numpy_took:14.2f}{package_took:14.2f}")

# %%
# What NumPy does not need is a compiler. This is what the first call of an image takes:

jax.clear_caches()
began = time.perf_counter()
jax.block_until_ready(pytreefit.jit(grater.Scene.image)(scene))
print(f"{time.perf_counter() - began:.1f} s")

# %%
# For a single image NumPy is fast enough. A fit takes tens of images with their derivatives, and a
# posterior thousands. ``pytreefit.cache_programs()`` keeps programs for the next process, and
# :doc:`/speed` says what else makes them fast.

# sphinx_gallery_thumbnail_number = 1
