r"""Outliers, flares and dips: points that their neighbours do not predict.

The mean of a short run of points is predicted from the points on both sides of it,

.. math:: \hat y = \sum_{j \in \text{neighbours}} w_j y_j, \qquad \sum_j w_j = 1,

with the weights that predict the rest of the light curve best: its own slopes, periods and noise
decide. The run itself has no part in it, so that a steep slope neither hides an outlier nor makes
one. Weights and usual errors belong to the set of neighbours that is there: at ends and beside gaps
they are those of a prediction from one side. At uneven times, which share no weights, the
prediction is a straight line through the nearest points.

Runs of several lengths are tried, and that goes first without which the rest is predicted best, so
that a flare or a transit goes as a whole. A point that the others predict once these have gone
comes back. Where points are minutes apart their means in bins are looked at, too.
"""

from typing import NamedTuple

import numpy as np

from .corrections import MAD_TO_SIGMA

_SIDE = 8  # neighbours on each side
_RUNS = (1, 2, 4, 8, 12)  # points
_EDGE = _SIDE + _RUNS[-1]
_FEWEST = 60  # runs with all neighbours, of which weights are found
_UNEVEN = 0.1  # how far a step may be from a multiple of the cadence, in cadences
_LOCAL = 256  # points among which errors may be larger than elsewhere
_ROUNDS = 50
_POOR = 3.0  # times the median error: points that predict nothing
_BIN = 0.0208  # days: half an hour, for cadences of less than half of it


class Found(NamedTuple):
    """Masks of the points of each kind."""

    outliers: np.ndarray
    flares: np.ndarray
    dips: np.ndarray


def find(time, flux, flux_err, segment, limits: tuple[float, float]) -> Found:
    """The points that lie too far from what their neighbours predict.

    A single point is an outlier, several in a row are a flare or a dip.

    Parameters
    ----------
    time, flux, flux_err, segment
        Of one light curve, times ascending. Points whose error is far above the others' predict
        nothing, and may be off by as much.
    limits
        How far below and above, in robust standard deviations of these differences; with infinity
        that side is kept.
    """
    # a side that is kept is no neighbour to go by, either
    finite = [min(limits) if np.isinf(limit) else limit for limit in limits]
    sign = np.zeros(time.size, int)
    several = np.zeros(time.size, bool)
    for k in np.unique(segment):
        own = np.flatnonzero(segment == k)
        poor = flux_err[own] > _POOR * np.median(flux_err[own])
        everything, own = own, own[~poor]
        slot = _slots(time[own])
        sign[own] = _signs(time[own], flux[own], slot, finite)
        good = own[sign[own] == 0]
        if poor.any() and good.size:
            off = flux - np.interp(time, time[good], flux[good])
            off = np.where(off < 0, off / finite[0], off / finite[1]) / flux_err
            sign[everything[poor]] = np.where(np.abs(off) > 1.0, np.sign(off), 0)[everything[poor]]
        near = np.diff(np.arange(own.size) if slot is None else slot) <= 2
        same = near & (sign[own][1:] == sign[own][:-1]) & (sign[own][1:] != 0)
        several[own[1:]] |= same
        several[own[:-1]] |= same
    for side, limit in zip((-1, 1), limits, strict=True):
        sign[(sign == side) & np.isinf(limit)] = 0
    return Found((sign != 0) & ~several, several & (sign > 0), several & (sign < 0))


def number_of_events(points) -> int:
    """Runs of points in a mask."""
    return int(np.sum(np.diff(points.astype(int), prepend=0) == 1))


def _slots(time):
    """The number of each point in cadences, or None where times are uneven."""
    step = np.diff(time)
    if step.size < _FEWEST or not np.all(step > 0):
        return None
    number = step / np.median(step)
    whole = np.rint(number)
    if np.any(whole < 1) or np.mean(np.abs(number - whole) > _UNEVEN) > 0.1:
        return None
    # nothing is predicted across so many missing points
    return np.concatenate([[0], np.cumsum(np.minimum(whole, 2 * _EDGE))]).astype(int)


def _signs(time, flux, slot, limits):
    """-1 where points of a segment are too low, 1 where they are too high, else 0."""
    flux = flux - np.median(flux)
    if not np.ptp(flux) > 0:
        return np.zeros(flux.size, int)
    if slot is not None:
        values = np.full(slot[-1] + 1 + 2 * _EDGE, np.nan)
        values[slot + _EDGE] = flux
        rules = [rule for rule in (_Even.of(values, run) for run in _RUNS) if rule is not None]
        if rules:
            sign = _Search(values, rules, limits).signs()[slot + _EDGE]
            number = round(_BIN / np.median(np.diff(time)))
            return sign if number < 2 else _in_bins(flux, slot // number, sign, limits)
    if flux.size < 4 * _SIDE:
        return np.zeros(flux.size, int)
    return _Search(flux, [_Uneven.of(time, flux)], limits).signs()


def _in_bins(flux, place, sign, limits):
    """The signs, and those of bins whose mean is too far off, for all points in them."""
    used, size = sign == 0, place[-1] + 1
    number = np.bincount(place[used], minlength=size)
    total = np.bincount(place[used], flux[used], minlength=size)
    values = np.full(size + 2 * _EDGE, np.nan)
    enough = 2 * number >= np.max(number)
    values[_EDGE:-_EDGE][enough] = total[enough] / number[enough]
    rules = [rule for rule in (_Even.of(values, run) for run in _RUNS) if rule is not None]
    if not rules:
        return sign
    return np.where(used, _Search(values, rules, limits).signs()[place + _EDGE], sign)


class _Search:
    """Takes away what is too far off, until the rest is predicted."""

    def __init__(self, values, rules, limits):
        self.values, self.left, self.limits = values, values.copy(), limits
        self.sign, self.rules = np.zeros(values.size, int), rules
        self.usual: list = []

    def signs(self):
        """-1 for what is too low, 1 for what is too high, else 0."""
        for rules in (self.rules, self.rules[:1]):
            self._take_away(len(rules))
            while True:
                off = np.abs(self._off(self.rules[0], among_all=True))
                back = np.isnan(self.left) & (off > 0.0) & (off <= 1.0)
                if not back.any():
                    break
                self.left[back], self.sign[back] = self.values[back], 0
        # what else was wrong nearby may have turned a sign
        off = self._off(self.rules[0], among_all=True)
        return np.where((self.sign != 0) & (off != 0.0), np.sign(off), self.sign)

    def _off(self, rule, part=slice(None), among_all=False):
        """How far the runs from each point of a part on are off, over the limit."""
        wanted = self.values if among_all else self.left
        off = rule.differences(self.left, wanted, part)
        off = off / self.usual[self.rules.index(rule)][part]
        return np.where(off < 0, off / self.limits[0], off / self.limits[1])

    def _take_away(self, rules: int):
        for _ in range(_ROUNDS):
            whole = (rule.differences(self.left, self.left, slice(None)) for rule in self.rules)
            self.usual = [_usual(off) for off in whole]
            off = np.stack([self._off(rule) for rule in self.rules[:rules]])
            size = np.max(np.abs(off), axis=0)
            found = np.flatnonzero(size > 1.0)
            free = np.ones(size.size, bool)
            for start in found[np.argsort(-size[found])]:
                around = slice(max(start - _EDGE, 0), start + 2 * _EDGE)
                if free[around].all():
                    free[around] = False
                    self._take_culprit(off, int(start))
            if not found.size:
                break

    def _take_culprit(self, off, start: int):
        """Take away the run near a place without which the rest is predicted best."""
        near = slice(max(start - _SIDE, 0), start + _SIDE + 1)
        part = slice(max(start - 3 * _EDGE, 0), start + 4 * _EDGE)
        best = np.inf, 0, 0
        for rule, size in zip(self.rules, np.abs(off[:, near]), strict=False):
            for first in near.start + np.argsort(-size)[: np.sum(size > 0.2)]:
                own = slice(first, first + rule.run)
                kept = self.left[own].copy()
                self.left[own] = np.nan
                rest = [np.abs(self._off(rule, part)) for rule in self.rules[: len(off)]]
                self.left[own] = kept
                cost = np.sum(np.maximum(np.array(rest) - 1.0, 0.0)) + 0.02 * rule.run
                best = min(best, (cost, rule.run, int(first)))
                if best[0] <= 0.02 * rule.run:
                    break
        _, run, first = best
        which = [rule.run for rule in self.rules].index(run)
        self.sign[first : first + run] = np.sign(off[which, first])
        self.left[first : first + run] = np.nan


def _usual(off):
    """The standard deviation that suits the middle and the wings, as it changes along the runs."""
    there = np.flatnonzero(off)
    blocks = np.array_split(there, max(there.size // _LOCAL, 1))
    if not there.size:
        return np.ones(off.size)
    middles = [np.median(block) for block in blocks]
    quantiles = np.array([np.percentile(np.abs(off[block]), [50.0, 95.0]) for block in blocks])
    scale = np.maximum(quantiles @ np.diag([MAD_TO_SIGMA, 1.0 / 1.96]), 1.0).max(axis=1)
    return np.interp(np.arange(off.size), middles, scale)


class _Even(NamedTuple):
    """How runs of some points are predicted where the cadence is even."""

    run: int
    neighbours: np.ndarray  # of runs with all of them, shape (runs, 2 _SIDE)
    means: np.ndarray  # of these runs
    products: np.ndarray  # of the neighbours, and with the means in the last row
    floor: float
    found: dict  # what `prediction` returned

    @classmethod
    def of(cls, values, run: int):
        """The rule that predicts some values best, None where few runs have all neighbours."""
        windows = np.lib.stride_tricks.sliding_window_view(values, 2 * _SIDE + run)
        complete = np.isfinite(windows).all(axis=1)
        if np.sum(complete) < _FEWEST:
            return None
        neighbours, means = _parted(windows[complete], run)
        # jumps have no part in the weights
        bend = np.abs(np.diff(windows[complete], 2, axis=1)).max(axis=1)
        good = bend <= 4.0 * np.median(bend)
        both = np.column_stack([neighbours, means])
        floor = 1e-10 * float(np.nanmax(np.abs(values))) + np.finfo(float).tiny
        for _ in range(3):
            rule = cls(run, neighbours, means, both[good].T @ both[good], floor, {})
            weights, error = rule.prediction((1 << 2 * _SIDE) - 1)
            good = np.abs(means - neighbours @ weights) <= 4.0 * error
        return rule

    def prediction(self, pattern: int):
        """Weights of the neighbours that a pattern of bits names, and the usual error."""
        if pattern in self.found:
            return self.found[pattern]
        there = np.flatnonzero(pattern >> np.arange(2 * _SIDE) & 1)
        matrix = np.zeros((there.size + 1, there.size + 1))
        matrix[:-1, :-1] = self.products[np.ix_(there, there)]
        matrix[:-1, :-1] += np.eye(there.size) * 1e-12 * np.trace(self.products)
        matrix[-1, :-1] = matrix[:-1, -1] = 1.0
        weights = np.zeros(2 * _SIDE)
        weights[there] = np.linalg.solve(matrix, np.append(self.products[there, -1], 1.0))[:-1]
        errors = np.abs(self.means - self.neighbours @ weights)
        self.found[pattern] = weights, MAD_TO_SIGMA * float(np.median(errors)) + self.floor
        return self.found[pattern]

    def differences(self, values, wanted, part):
        """Of ``wanted`` to what ``values`` predict, in usual errors; 0 where nothing is known."""
        values, wanted = values[part], wanted[part]
        off = np.zeros(values.size)
        if values.size < 2 * _SIDE + self.run:
            return off
        windows = (
            np.lib.stride_tricks.sliding_window_view(v, 2 * _SIDE + self.run)
            for v in (values, wanted)
        )
        (neighbours, _), (_, means) = (_parted(window, self.run) for window in windows)
        known = np.isfinite(neighbours)
        patterns = np.where(np.isfinite(means), known @ (1 << np.arange(2 * _SIDE)), 0)
        filled = np.where(known, neighbours, 0.0)
        for pattern in map(int, np.unique(patterns)):
            before, after = (pattern % (1 << _SIDE)).bit_count(), (pattern >> _SIDE).bit_count()
            # one outlier at an end must not make one of a whole run
            if (before + after if self.run == 1 else min(before, after)) >= min(self.run + 1, 3):
                own = np.flatnonzero(patterns == pattern)
                weights, error = self.prediction(pattern)
                off[own + _SIDE] = (means[own] - filled[own] @ weights) / error
        return off


def _parted(windows, run: int):
    """Neighbours of runs, and the runs' means."""
    neighbours = np.concatenate([windows[:, :_SIDE], windows[:, _SIDE + run :]], axis=1)
    return neighbours, windows[:, _SIDE : _SIDE + run].mean(axis=1)


class _Uneven(NamedTuple):
    """How points are predicted where times are uneven: by lines through the nearest.

    Where the mean of these is nearer, that counts: lines go astray beyond their points. Farther
    points may be off by more, by the square of how far they are.
    """

    time: np.ndarray
    errors: tuple[float, float] = (1.0, 1.0)  # that are usual, of the mean and of the line
    reach: float = np.inf  # usual distance from the first of the nearest points to the last
    run: int = 1

    @classmethod
    def of(cls, time, values):
        """The rule with the usual errors of some values."""
        *both, reach = cls(time)._both(values, values, slice(None))
        tiny = np.finfo(float).tiny
        errors = tuple(MAD_TO_SIGMA * np.median(np.abs(off)) + tiny for off in both)
        return cls(time, errors, float(np.median(reach)))

    def differences(self, values, wanted, part):
        """Of ``wanted`` to what ``values`` predict, in usual errors; 0 where nothing is known."""
        mean, line, reach = self._both(values, wanted, part)
        mean, line = (v / np.maximum(reach / self.reach, 1.0) ** 2 for v in (mean, line))
        nearer = np.where(np.abs(mean) < np.abs(line), mean, line)
        return np.where((mean * line > 0) & np.isfinite(nearer), nearer, 0.0)

    def _both(self, values, wanted, part):
        time, values, wanted = self.time[part], values[part], wanted[part]
        there, index = np.flatnonzero(np.isfinite(values)), np.arange(values.size)
        place = np.searchsorted(there, index)
        after = place + np.isfinite(values)
        steps = np.arange(_SIDE)
        nearest = np.concatenate([place[:, None] - 1 - steps, after[:, None] + steps], axis=1)
        weight = ((nearest >= 0) & (nearest < there.size)).astype(float)
        nearest = there[np.clip(nearest, 0, there.size - 1)]
        t, y = time[nearest] - time[:, None], values[nearest]
        s0, s1, s2 = (np.sum(weight * t**power, axis=1) for power in (0, 1, 2))
        y0, y1 = np.sum(weight * y, axis=1), np.sum(weight * y * t, axis=1)
        determinant = s0 * s2 - s1**2
        safe = np.where(determinant > 1e-12 * s0 * s2, determinant, np.inf)
        line = np.where(np.isfinite(safe), (s2 * y0 - s1 * y1) / safe, y0 / s0)
        scaled = zip((y0 / s0, line), (1.0 / s0, s2 / safe), self.errors, strict=True)
        both = [(wanted - p) / np.sqrt(1.0 + noise) / error for p, noise, error in scaled]
        return *both, np.ptp(np.where(weight > 0, t, 0.0), axis=1)
