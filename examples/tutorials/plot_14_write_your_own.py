r"""
Write your own
==============

At the end you will have this: a belt with a gap and a phase function for disks, a spot's life and a
kind of data for stars, each a class of a few lines that images, processes and fits can use.

.. image:: /tutorials/images/sphx_glr_plot_14_write_your_own_004.png
   :alt: one star in a light curve, a velocity and the light of faculae

A component is a class: its fields are its parameters, and a method says what it does. Write the
method with ``jax.numpy`` in place of ``numpy``, and without ``if`` on values: it is compiled and
differentiated. The constructor is made for you: it takes the fields in their order. PSFs, noise
models and solvers are in :doc:`/write_your_own`.
"""

import jax

jax.config.update("jax_enable_x64", True)  # for the stars; disks do without

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import grater
import spotgp
from pytreefit import Posterior, fit, param

# %%
# A belt with a gap
# -----------------
#
# A radial profile is the density of the dust in the midplane. The radius is in units of the belt's
# own (its semi-major axis), so that the profile need not know about au. ``param`` says what can be
# fitted: its unit, its bounds, and what it is.


class Gapped(grater.AbstractRadialProfile):
    """A broad belt, with a gap that a planet may have cleared."""

    width: jax.Array = param(bounds="(0, inf)", doc="of the belt")
    place: jax.Array = param(bounds="(0, inf)", doc="of the gap")
    depth: jax.Array = param(bounds="[0, 1]", doc="of the gap, 1 is empty")

    def density(self, q):
        belt = jnp.exp(-0.5 * ((q - 1.0) / self.width) ** 2)
        return belt * (1.0 - self.depth * jnp.exp(-0.5 * ((q - self.place) / 0.06) ** 2))


def scene_of(radial, phase):
    disk = grater.Disk(
        semi_major_axis=60.0,  # au
        inclination=55.0,  # deg
        position_angle=110.0,
        scale_height=1.5,  # au
        flux=1000.0,
        radial=radial,
        phase=phase,
    )
    grid = grater.Grid(shape=(61, 61), pixel_scale=0.06, distance=60.0)  # arcsec, pc
    return grater.Scene(disk, grid=grid, psf=grater.GaussianPSF(fwhm=2.5))


even = grater.Isotropic()
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
q = np.linspace(0.2, 1.8, 300)
for depth in (0.0, 0.5, 0.9):
    left.plot(60.0 * q, Gapped(0.25, 1.05, depth).density(q), label=f"depth {depth:g}")
left.set(xlabel="radius [au]", ylabel="density in the midplane")
left.legend(frameon=False)
right.imshow(scene_of(Gapped(0.25, 1.05, 0.9), even).image(), origin="lower", cmap="inferno")
right.set_axis_off()
plt.show()

# %%
# A phase function
# ----------------
#
# It is a function of the cosine of the scattering angle, in any normalisation: the disk brings all
# of them to the same one. This is that of Cornette & Shanks (1992), forward scattering that rises
# again towards 180 deg, as that of small grains does.


class CornetteShanks(grater.AbstractPhaseFunction):
    r"""Forward scattering, :math:`p \propto (1 + c^2) / (1 + g^2 - 2 g c)^{3/2}`."""

    g: jax.Array = param(bounds="(-1, 1)", doc="asymmetry")

    def __call__(self, cos_scatter):
        c = cos_scatter
        return (1.0 + c**2) / (1.0 + self.g**2 - 2.0 * self.g * c) ** 1.5


truth = scene_of(Gapped(0.25, 1.05, 0.8), CornetteShanks(0.4))
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
angle = np.linspace(0.0, 180.0, 181)
for phase in (CornetteShanks(0.4), grater.HenyeyGreenstein(0.4)):
    curve = phase.factor("sphere") * phase(np.cos(np.radians(angle)))
    left.semilogy(angle, curve, label=type(phase).__name__)
left.set(xlabel="scattering angle [deg]", ylabel="phase function [1 / sr]")
left.legend(frameon=False)
right.imshow(truth.image(), origin="lower", cmap="inferno")
right.set_axis_off()
plt.show()

# %%
# Both have paths like all other parameters, and are fitted like these. The data are simulated:

error = 0.05 * float(truth.image().max())
data = grater.Observation.simulate(truth, error, jax.random.key(0))
start = truth.set({"disk.radial.depth": 0.3, "disk.radial.place": 1.0, "disk.phase.g": 0.1})
priors = {
    "disk.radial.width": (0.05, 0.6),
    "disk.radial.place": (0.8, 1.3),
    "disk.radial.depth": (0.0, 1.0),
    "disk.phase.g": (-0.9, 0.9),
    "disk.flux": (100.0, 5000.0),
}
print(fit(Posterior(start, data.log_likelihood, priors), progress=False))

# %%
# A spot's life
# -------------
#
# An envelope is the radius of a spot over time, 1 at its largest. Sunspots lose their area ever
# more slowly, as the square of the time that is left, so that the radius falls evenly (Petrovay &
# van Driel-Gesztelyi 1997). What goes into the kernel, and where it may be cut off, is worked out
# from it.


class Sunspot(spotgp.AbstractEnvelope):
    """Exponential growth, and a decay in which the radius falls at an even rate."""

    growth: jax.Array = param(unit="d", bounds="(0, inf)", doc="time of growth")
    decay: jax.Array = param(unit="d", bounds="(0, inf)", doc="time of decay")

    def Gamma(self, t):
        grows = jnp.exp(jnp.minimum(t, 0.0) / self.growth)
        return grows * jnp.clip(1.0 - t / self.decay, 0.0, 1.0)


star = spotgp.SpotEvolutionModel(
    envelope=Sunspot(growth=1.5, decay=20.0),
    visibility=spotgp.VisibilityFunction(peq=8.0, kappa=0.1, inc=1.1),
    sigma_k=0.01,
)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
t, lag = np.linspace(-10.0, 25.0, 400), np.linspace(0.0, 30.0, 400)
left.plot(t, star.envelope.Gamma(t))
left.set(xlabel="time [d]", ylabel="radius of a spot")
kernel = spotgp.AnalyticKernel(star).kernel(lag)
right.plot(lag, kernel / kernel[0])
right.set(xlabel="lag [d]", ylabel="correlation of the flux")
plt.show()

# %%
# A parameter of an envelope with the bounds 0 and infinity is taken for a time. It gets a wide
# prior, and ``search`` finds a starting value for it.

days = np.arange(0.0, 60.0, 0.5)
curves = spotgp.simulate(star, jax.random.key(1), days, nspot_rate=3.0)
gp = spotgp.GPSolver(days, 1.0 + np.asarray(curves[0]), 1e-3, star)
print(gp)

# %%
# A kind of data
# --------------
#
# A channel says what a spot adds to the data as it crosses the disk: a polynomial of mu, the cosine
# of the angle from the disk's centre, its constant term first. ``weight`` returns a dictionary: its
# keys are powers of the velocity, 0 for light and 1 for a radial velocity. Faculae around the spots
# stand out towards the limb: their contrast grows as 1 - mu, and their area is foreshortened by mu.


class Faculae(spotgp.AbstractChannel):
    r"""Light of faculae, :math:`w = s\, \mu (1 - \mu)`."""

    scale: jax.Array = param(default=1.0, doc="of the signal")

    def weight(self, visibility):
        return {0: [0.0 * self.scale, self.scale, -self.scale]}


channels = {
    "flux": spotgp.FluxBand(),
    "velocity [m / s]": spotgp.RadialVelocity(vsini=3000.0),
    "faculae": Faculae(scale=2.0),
}
drawn = spotgp.simulate_channels(star, jax.random.key(1), days, channels, nspot_rate=0.3)
figure, axes = plt.subplots(3, 1, figsize=(9, 5), sharex=True, layout="constrained")
for axis, (name, values) in zip(axes, drawn.items(), strict=True):
    axis.plot(days, values[0], "k.-", ms=3, lw=0.8)
    axis.set_ylabel(name)
axes[-1].set_xlabel("time [d]")
plt.show()

# %%
# Its covariances with all other channels follow, so that a joint fit takes it at once
# (:doc:`/tutorials/plot_10_velocity`):

joint = spotgp.ChannelSolver(
    {
        "flux": (days, 1.0 + np.asarray(drawn["flux"][0]), 1e-3),
        "faculae": (days, np.asarray(drawn["faculae"][0]), 1e-3),
    },
    star,
    {"flux": channels["flux"], "faculae": channels["faculae"]},
)
print(joint)
print(float(joint.log_likelihood()))

# %%
# In a file of your own
# ---------------------
#
# - Give a class a docstring with its equation, and test its gradient against differences: the
#   examples in :doc:`/write_your_own` are tests of this package.
# - Put it into a module: :func:`pytreefit.load` reads models of your classes once that is imported.
# - Bounds are checked for you. To refuse other values, write a method ``__check_init__(self)`` that
#   raises a ``ValueError``.
#
# Next: :doc:`/api/extend` lists what helps with packages of components.

# sphinx_gallery_thumbnail_number = 4
