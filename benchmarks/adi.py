"""A disk under speckles that turns by 60 deg: three ways to fit it, over simulated sequences.

    python benchmarks/adi.py --draws 20

Each sequence has 40 frames of 61 x 61 pixels behind an ideal coronagraph. The pupil's phase has a
static part, a part that evolves during the sequence, and one that is another in each frame; the
disk has a signal of about 5 sigma of the white noise in a pixel at half of its peak, in the whole
sequence. Fitted are

- the frames themselves, with components that are learned anew without the best disk (`fit_frames`);
- the picture that plain KLIP leaves, as if nothing had been subtracted from the disk;
- the same picture by the linear perturbation of KLIP as DiskFM has it (`ReducedFrames`).

An honest method is off by 0 on average, within its standard error over the draws. Speckles that
are too faint to be learned are left over as noise that is correlated, so that the scatter over the
draws is larger than the usual error. ``--rank 3`` leaves none of these.
"""

import argparse
import time

import common
import jax
import numpy as np

import grater
from pytreefit import Posterior, fit, laplace

SIZE, FRAMES, TURN = 61, 40, 60.0
SETUP = dict(pixel_scale=0.0375, distance=70.0)
ZONE = (7.0, 29.0)  # pixels
PRIORS = {
    "disk.flux": (1e2, 1e6),
    "disk.semi_major_axis": (25.0, 80.0),
    "disk.inclination": (30.0, 89.0),
    "disk.position_angle": (0.0, 60.0),
    "disk.phase.g": (-0.3, 0.9),
    "noise.scale": (0.05, 20.0),
}


def truth():
    disk = grater.Disk(
        50.0,
        70.0,
        30.0,
        alpha_in=10.0,
        alpha_out=-6.0,
        scale_height=1.5,
        density_normalization="column",
        phase=grater.HenyeyGreenstein(0.3),
        flux=1e4,
    )
    grid = grater.Grid((SIZE, SIZE), **SETUP)
    psf = grater.GaussianPSF(4.0, size=25)
    return grater.Scene(disk, grid=grid, psf=psf, accuracy=1e-3, nodes_on="surfaces")


class Telescope:
    """An annular pupil whose coronagraph takes out the mean field; lambda / D is 4 pixels."""

    def __init__(self, across=32, sampling=4):
        self.size = across * sampling
        y, x = np.indices((self.size, self.size)) - self.size // 2 + 0.5
        radius = np.hypot(x, y)
        self.pupil = (radius < across / 2) & (radius > 0.15 * across)
        k = np.fft.fftfreq(self.size)
        k = np.hypot(*np.meshgrid(k, k))
        self.amplitude = np.where(k > 0, np.where(k > 0, k, 1.0) ** -1.25, 0.0)

    def screen(self, rng):
        """A random phase of rms 1 over the pupil."""
        noise = np.fft.fft2(rng.normal(size=self.pupil.shape))
        phase = np.real(np.fft.ifft2(noise * self.amplitude))
        return phase / phase[self.pupil].std()

    def image(self, phase):
        field = self.pupil * np.exp(1j * phase)
        field = field - self.pupil * field.sum() / self.pupil.sum()
        focus = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(field)))
        first = self.size // 2 - SIZE // 2
        window = slice(first, first + SIZE)
        return np.abs(focus[window, window]) ** 2

    def sequence(self, rng, static=0.1, evolving=0.02, fast=0.001):
        """Speckles of all frames; the evolving part goes smoothly from screen to screen."""
        base, knots = static * self.screen(rng), [self.screen(rng) for _ in range(4)]
        at = np.linspace(0.0, 3.0, FRAMES)[:, None] - np.arange(4)
        weights = np.exp(-0.5 * at**2)
        weights = evolving * weights / np.linalg.norm(weights, axis=1, keepdims=True)
        frames = []
        for row in weights:
            slow = base + sum(w * screen for w, screen in zip(row, knots, strict=True))
            frames.append(self.image(slow + fast * self.screen(rng)))
        return np.array(frames)


def of_rank(frames, rank):
    """Frames that are sums of as many patterns, the first principal components."""
    courses, values, patterns = np.linalg.svd(frames.reshape(FRAMES, -1), full_matrices=False)
    return ((courses[:, :rank] * values[:rank]) @ patterns[:rank]).reshape(frames.shape)


def draw(telescope, scene, seed, brightness, rank, signal=5.0):
    """A sequence: speckles so many times as bright as the disk's peak where it is, and noise."""
    rng = np.random.default_rng(seed)
    speckles = of_rank(telescope.sequence(rng), rank)
    angles = np.linspace(0.0, TURN, FRAMES)
    empty = grater.FrameSequence(np.zeros_like(speckles), 1.0, angles=angles, **SETUP)
    light = np.asarray(empty.models(scene))
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    near = np.abs(np.hypot(x, y) - 18.0) < 4.0
    peak = light.max()
    speckles *= brightness * peak / speckles[:, near].mean()
    mean = speckles.mean(axis=0)
    background = 0.5 * peak * np.sqrt(FRAMES) / signal
    error = background * np.sqrt(0.5 + 0.5 * mean / mean[near].mean())
    image = light + speckles + error * rng.normal(size=speckles.shape)
    return grater.FrameSequence(image, error, angles=angles, **SETUP)


def by_frames(frames, start, modes):
    klip = grater.KLIP(modes, annuli=ZONE)
    posterior = Posterior(start, frames.learn(klip).log_likelihood, PRIORS)
    found = grater.fit_frames(posterior, tolerance=0.05, progress=False)
    return found.best, found.posterior, found.settled


def by_picture(frames, start, modes, model):
    """A fit to what KLIP leaves, whose model is forward modelled or is not."""
    klip = grater.KLIP(modes, annuli=ZONE, movement=2.0)
    reduced = grater.ReducedFrames.of(frames, klip, None, complete=False)
    picture = np.asarray(reduced.reduced.image)
    error = grater.noise_map(picture, half_width=2.0)
    image = grater.Observation(picture, np.where(error > 0, error, np.nan), **SETUP)
    image = image.mask_radius(ZONE[0] + 2.0, ZONE[1] - 3.0)
    data = reduced.set({"reduced": image}) if model else image
    posterior = Posterior(start, data.log_likelihood, PRIORS)
    best = fit(posterior, progress=False)
    return best, posterior, best.converged


METHODS = {
    "frames": by_frames,
    "picture, plain": lambda *given: by_picture(*given, model=False),
    "picture, linear perturbation": lambda *given: by_picture(*given, model=True),
}


def rows_of(found, true):
    """Mean offset, its standard error, scatter and usual error of each parameter."""
    for method, draws in found.items():
        values, errors = (np.array([d[k] for d in draws]) for k in ("values", "errors"))
        for k, path in enumerate(PRIORS):
            if path == "noise.scale":
                continue
            off = values[:, k] - true[path]
            scatter = off.std(ddof=1) if len(off) > 1 else np.nan
            yield {
                "method": method,
                "parameter": path,
                "truth": true[path],
                "mean offset": float(off.mean()),
                "its standard error": float(scatter / np.sqrt(len(off))),
                "scatter": float(scatter),
                "usual error": float(np.median(errors[:, k])),
                "draws": len(off),
                "finished": int(sum(d["good"] for d in draws)),
                "seconds": float(np.median([d["seconds"] for d in draws])),
            }


def main():
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--modes", type=int, default=5)
    parser.add_argument("--brightness", type=float, default=3.0, help="of speckles, disk's peaks")
    parser.add_argument("--rank", type=int, default=FRAMES, help="of the speckles")
    parser.add_argument("--minutes", type=float, default=1e9, help="no further draw after that")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    scene, telescope, began = truth(), Telescope(), time.perf_counter()
    true = {path: float(scene.get(path)) for path in PRIORS}
    start = scene.set({"disk.flux": 8e3, "disk.inclination": 68.0, "disk.position_angle": 32.0})
    found = {name: [] for name in METHODS}
    for seed in range(args.draws):
        frames = draw(telescope, scene, seed, args.brightness, args.rank)
        for name, method in METHODS.items():
            clock = time.perf_counter()
            best, posterior, good = method(frames, start, args.modes)
            taken = time.perf_counter() - clock
            std = laplace(posterior, best, method="fisher", held=list(best.at_edge)).std
            values, errors = ([float(of[p]) for p in PRIORS] for of in (best.values, std))
            found[name].append(dict(values=values, errors=errors, good=good, seconds=taken))
            pulls = np.round((np.array(values) - list(true.values())) / errors, 1)
            print(
                f"{seed} {name}: {taken:.0f} s, {good}, scale {values[-1]:.3f}, {pulls[:-1]}",
                flush=True,
            )
        if time.perf_counter() - began > 60.0 * args.minutes:
            break
    rows = list(rows_of(found, true))
    print(*rows, sep="\n")
    common.record("adi" if args.rank == FRAMES else "adi_rank", rows, settings=vars(args))


if __name__ == "__main__":
    main()
