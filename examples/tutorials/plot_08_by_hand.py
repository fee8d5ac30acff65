r"""
By hand: grids of models, and a fit with Optax
==============================================

At the end you will have this: images and likelihoods over a grid of parameters, and a fit whose
loop you wrote yourself.

.. image:: /tutorials/images/sphx_glr_plot_08_by_hand_001.png
   :alt: images of a disk over a grid of inclinations and phase functions

For most work ``fit`` is enough. This page is for those who know some JAX, or want to, and use a
disk in code of their own. The image is simulated.
"""

# %%
# A model is a PyTree
# -------------------
#
# A PyTree is a container of arrays, such as a dictionary or an object with fields, that JAX can
# take apart and put together again. A scene is one whose arrays are its parameters, so that all
# that JAX does with arrays it does with scenes: compile, differentiate, run in batches.

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import grater
from pytreefit import Posterior, fit

disk = grater.Disk(
    semi_major_axis=40.0,
    inclination=65.0,
    position_angle=30.0,
    alpha_in=10.0,
    alpha_out=-5.0,
    scale_height=1.5,
    flux=1000.0,
    phase=grater.HenyeyGreenstein(g=0.3),
    density_normalization="column",
)
truth = grater.Scene(
    disk,
    grid=grater.Grid((35, 35), pixel_scale=0.05, distance=70.0),
    psf=grater.GaussianPSF(fwhm=2.0, size=9),
    accuracy=1e-3,
    nodes_on="surfaces",  # this page compiles sooner with it
)
data = grater.Observation.simulate(truth, 0.03, jax.random.key(8))
print(jax.tree.leaves(truth)[:4])

# %%
# The gradient of a function of the scene is a scene again, with a derivative in the place of each
# parameter: how much the log-likelihood changes per degree, per au, and so on. Its ``get`` is that
# of any scene:

start = truth.set({"disk.inclination": 60.0, "disk.position_angle": 25.0, "disk.phase.g": 0.1})
slopes = eqx.filter_jit(eqx.filter_grad(data.log_likelihood))(start)
for name in ("disk.inclination", "disk.position_angle", "disk.semi_major_axis", "disk.phase.g"):
    print(name, slopes.get(name))

# %%
# Grids of parameters
# -------------------
#
# ``jax.vmap`` turns a function of numbers into one of arrays of numbers. Twice, it makes a grid:


def image(inclination, g):
    return truth.set({"disk.inclination": inclination, "disk.phase.g": g}).image()


def over_grid(function):
    return jax.jit(jax.vmap(jax.vmap(function, (None, 0)), (0, None)))


inclinations, asymmetries = jnp.array([30.0, 50.0, 70.0]), jnp.array([-0.3, 0.0, 0.3, 0.6])
images = over_grid(image)(inclinations, asymmetries)
print(images.shape)
figure, axes = plt.subplots(3, 4, figsize=(8, 6.2), layout="constrained")
for row, inclination, cells in zip(images, inclinations, axes, strict=True):
    for one, g, axis in zip(row, asymmetries, cells, strict=True):
        axis.imshow(np.sqrt(np.clip(one / one.max(), 0, 1)), origin="lower", cmap="inferno")
        axis.set_title(f"{inclination:.0f} deg, g = {g:.1f}", fontsize=9)
        axis.set_axis_off()
plt.show()

# %%
# The log-likelihood over a finer grid, with the true values of all else. The contours hold 68 and
# 95 % of the probability, and the cross is the truth:


def log_likelihood(inclination, g):
    return data.log_likelihood(truth.set({"disk.inclination": inclination, "disk.phase.g": g}))


inclinations, asymmetries = jnp.linspace(63.0, 67.0, 25), jnp.linspace(0.22, 0.38, 25)
over = np.asarray(over_grid(log_likelihood)(inclinations, asymmetries))
over = over - over.max()
figure, axis = plt.subplots(figsize=(4.6, 3.8), layout="constrained")
shown = axis.pcolormesh(asymmetries, inclinations, over, vmin=-10, shading="nearest")
axis.contour(asymmetries, inclinations, over, levels=[-3.0, -1.15], colors="white")
axis.plot(truth.get("disk.phase.g"), truth.get("disk.inclination"), "r+", markersize=12)
axis.set(xlabel="g", ylabel="inclination (deg)", xticks=[0.25, 0.3, 0.35])
figure.colorbar(shown, label="log-likelihood, relative to the best")
plt.show()

# %%
# ``pytreefit.grid`` and ``pytreefit.map_models`` do the same with models in place of numbers, and
# use all cores.
#
# A fit with Optax
# ----------------
#
# Optax takes the numbers as they are. A step of the same length has to mean something for each of
# them, so that they are counted in steps from the start here. Values are not compared with their
# bounds in a compiled function: a loop of your own has to stay inside of them.

steps = {
    "disk.inclination": 1.0,  # deg
    "disk.position_angle": 1.0,  # deg
    "disk.phase.g": 0.05,
    "disk.flux": 50.0,
}


def values_at(x):
    return {name: start.get(name) + steps[name] * x[name] for name in steps}


def loss(x):
    return -data.log_likelihood(start.set(values_at(x)))


optimizer = optax.adam(learning_rate=0.3)


@jax.jit
def step(x, state):
    value, slope = jax.value_and_grad(loss)(x)
    update, state = optimizer.update(slope, state)
    return optax.apply_updates(x, update), state, value


x = dict.fromkeys(steps, jnp.zeros(()))
state, course = optimizer.init(x), []
for _ in range(150):
    x, state, value = step(x, state)
    course.append(float(value))
by_hand = values_at(x)

# %%
# The same by ``fit``, which needs fewer steps as it knows that the likelihood is a sum of squares.
# ``fit(posterior, optimizer=...)`` takes Optax's optimizers too.

priors = {
    "disk.inclination": (40.0, 88.0),
    "disk.position_angle": (0.0, 60.0),
    "disk.phase.g": (-0.9, 0.9),
    "disk.flux": (100.0, 10000.0),
}
posterior = Posterior(start, data.log_likelihood, priors)
best = fit(posterior, progress=False)
print(best.message)
print(f"{'':22s}{'truth':>9s}{'by hand':>10s}{'fit':>10s}")
for name in priors:
    row = (truth.get(name), by_hand[name], best.values[name])
    print(f"{name:22s}" + "".join(f"{float(value):10.3f}" for value in row))

figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.semilogy(np.array(course) - min(course) + 0.1)
axis.set(xlabel="step of Adam", ylabel="- log-likelihood\nabove the lowest + 0.1")
plt.show()

# %%
# Next: :doc:`/tutorials/plot_08_samplers` draws from this posterior by hand.

# sphinx_gallery_thumbnail_number = 1
