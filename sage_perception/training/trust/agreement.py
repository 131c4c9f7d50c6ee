# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fitting of the agreement of crops: monotone cue functions of a calibrated log-likelihood ratio.

A logistic regression on ramps between the quantiles of each cue, with coefficients of at least 0,
makes every function monotone, and their sum a log-likelihood ratio (both kinds of pairs have the
same total weight). All cues of a fit are fitted together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from sage_perception.core.discrimination import threshold_at
from sage_perception.trust.fusion.agreement import (
    CODE,
    MAX_LOG_RATIO,
    SMALL_CODE,
    CueFunction,
    Fit,
)
from sage_perception.trust.fusion.rivals import ambiguity, correction

KNOTS = 8
PRIOR = 1e-3
"""Weight of the squares of the coefficients, which favors few and small steps."""
MIN_STEP = 1e-4
CODE_MODELS = {CODE: 'semantic_text', SMALL_CODE: 'semantic_small'}
"""Models of the identity codes that are sent, by cue."""
RATES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""False positive rates of which a fit has the thresholds."""
EVERY = slice(None)
MIN_PAIRS = 20
"""Pairs of other things of an image from which it has thresholds of its own."""


def fit_agreement(same: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> Fit:
    """Return the fit to the cues of pairs of one thing and of other things, `[N]` and `[M]` each.

    Raises `ValueError` if there are no pairs, or a cue is not finite or constant.
    """
    names = list(same)
    knots = {name: _knots(np.concatenate([same[name], other[name]])) for name in names}
    ramps = [_ramps(pairs[name], knots[name]) for pairs in (same, other) for name in names]
    design = np.vstack([np.hstack(ramps[: len(names)]), np.hstack(ramps[len(names) :])])
    count, others = len(same[names[0]]), len(other[names[0]])
    target = np.repeat([1.0, -1.0], [count, others])
    weight = np.repeat([0.5 / count, 0.5 / others], [count, others])
    theta = _logistic(design, target, weight)
    functions, first = {}, 0
    for position, name in enumerate(names):
        steps = theta[first : first + KNOTS - 1]
        first += KNOTS - 1
        heights = np.concatenate([[0.0], np.cumsum(steps)])
        # The constant belongs to no cue; it is part of the first function.
        heights += theta[-1] if position == 0 else 0.0
        clipped = heights.clip(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        functions[name] = CueFunction(tuple(knots[name].tolist()), tuple(clipped.tolist()))
    draft = Fit(functions, {0.5: 0.0})
    scores = draft.log_ratio(other)
    return Fit(functions, {rate: threshold_at(scores, rate) for rate in RATES})


@dataclass(frozen=True)
class Scenes:
    """Cues of the places of scenes, each place seen in two images.

    `cues` are `[S, P, P]` by name: those of the places of the first image with those of the
    second, where the diagonal has the same places. `own` are `[2, S, P, P]` by name: those of the
    places of each of the two images with each other. `distinct`, bool `[S, P, P]`, tells which
    pairs are of things that do not look alike, and `images` `[S]` are numbers: several scenes can
    be of one image.
    """

    cues: Mapping[str, np.ndarray]
    own: Mapping[str, np.ndarray]
    distinct: np.ndarray
    images: np.ndarray

    def pairs(
        self, chosen: np.ndarray | slice = EVERY
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the cues of the same places, and of distinct ones, of the `chosen` scenes.

        `chosen` is bool `[S]`, or a slice.
        """
        places = np.eye(self.distinct.shape[1], dtype=bool)
        distinct = self.distinct[chosen] & ~places
        same = {name: values[chosen][:, places].ravel() for name, values in self.cues.items()}
        other = {name: values[chosen][distinct] for name, values in self.cues.items()}
        return same, other

    def of_images(
        self, fit: Fit, chosen: np.ndarray | slice = EVERY
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores in images of the pairs that `pairs` returns."""
        apart = ~np.eye(self.distinct.shape[1], dtype=bool)
        ratios = fit.log_ratio({name: values[chosen] for name, values in self.cues.items()})
        own = fit.log_ratio({name: values[:, chosen] for name, values in self.own.items()})
        shifts = [
            correction(ambiguity(first, apart), ambiguity(second, apart))
            for first, second in zip(*own, strict=True)
        ]
        scores = ratios - np.stack(shifts)
        return scores[:, ~apart].ravel(), scores[self.distinct[chosen] & apart]


def fit_by_image(scenes: Scenes) -> Fit:
    """Return the fit to scenes of several images, with thresholds for images that it has not seen.

    The pairs of each image are scored by a fit to all other images, alone and with regard to the
    other places of their scene, and a threshold is the mean of those that the rate has within each
    image. In the pairs of all images together, the few images of repeated structure would
    determine it, and the rate within most images would be far below the nominal one. Raises
    `ValueError` as `fit_agreement` does, and if no image has `MIN_PAIRS` pairs of other things.
    """
    alone: list[list[float]] = []
    of_images: list[list[float]] = []
    for image in np.unique(scenes.images):
        own = scenes.images == image
        other = scenes.pairs(own)[1]
        if len(next(iter(other.values()))) < MIN_PAIRS:
            continue
        fit = fit_agreement(*scenes.pairs(~own))
        in_images = scenes.of_images(fit, own)[1]
        alone.append([threshold_at(fit.log_ratio(other), rate) for rate in RATES])
        of_images.append([threshold_at(in_images, rate) for rate in RATES])
    if not alone:
        raise ValueError(f'no image has {MIN_PAIRS} pairs of other things')
    thresholds, image_thresholds = (
        dict(zip(RATES, np.mean(found, axis=0).tolist(), strict=True))
        for found in (alone, of_images)
    )
    return Fit(fit_agreement(*scenes.pairs()).functions, thresholds, image_thresholds)


def fit_colors(
    latents: np.ndarray, crops: np.ndarray, parts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the map `[D, K]` and the offset `[K]` from latents to the mean colors of crops.

    `latents` are `[N, D]` of `crops`, uint8 `[N, S, S, 3]`; each crop has `parts` × `parts` parts,
    and K is 3 · parts².
    """
    side = crops.shape[1] // parts * parts
    shape = (len(crops), parts, side // parts, parts, side // parts, 3)
    colors = crops[:, :side, :side].reshape(shape).mean((2, 4)).reshape(len(crops), -1) / 255
    mean, center = latents.mean(0), colors.mean(0)
    x = latents - mean
    ridge = 1e-4 * np.trace(x.T @ x) / x.shape[1]
    solution = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (colors - center))
    return solution, center - mean @ solution


def _knots(values: np.ndarray) -> np.ndarray:
    """Return `KNOTS` increasing quantiles of a cue, denser at the high end, where pairs agree."""
    if not np.isfinite(values).all() or values.max() - values.min() < MIN_STEP:
        raise ValueError('a cue is not finite, or is the same for all pairs')
    shares = 1 - (1 - np.linspace(0, 1, KNOTS)) ** 2
    found = np.quantile(values, shares)
    spread = MIN_STEP * (values.max() - values.min())
    return found + spread * np.arange(KNOTS)


def _ramps(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return how far values are in each interval of the knots, `[N, KNOTS - 1]` in [0, 1]."""
    return ((values[:, None] - knots[:-1]) / np.diff(knots)).clip(0, 1)


def _logistic(design: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return coefficients of at least 0, and a free constant as the last value."""
    columns = np.hstack([design, np.ones((len(design), 1))])

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        margins = target * (columns @ theta)
        value = float((weight * np.logaddexp(0, -margins)).sum())
        slopes = -weight * target / (1 + np.exp(margins.clip(-50, 50)))
        gradient = columns.T @ slopes
        penalty = theta[:-1]
        value += PRIOR * float(penalty @ penalty)
        gradient[:-1] += 2 * PRIOR * penalty
        return value, gradient

    size = columns.shape[1]
    bounds: Sequence[tuple[float | None, float | None]] = [(0.0, None)] * (size - 1)
    bounds = [*bounds, (None, None)]
    start = np.full(size, 0.1)
    return np.asarray(minimize(loss, start, jac=True, bounds=bounds, method='L-BFGS-B').x)
