# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Evidence from the other crops of the compared images.

Two crops of one image, apart from each other, show two things. How similar they are nevertheless
tells how easily a crop is confused: a window of a facade with many of them resembles crops of any
image that shows the facade, a car on an empty road does not. `ambiguity` is the logarithm of the
mean likelihood ratio of a crop and the things that it is known not to be; with calibrated ratios
the mean is 1 for a typical crop. The ambiguities of both crops are a `correction` of the
log-likelihood ratio of a pair, as the test normalization of voice verification has them
(Auckenthaler et al., 2000).

`posterior` includes the one-to-one constraint: a thing is seen at most once in an image, so the
other candidates of a crop count against a pair.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sage_perception.core.latent import Roi

APART = 0.75
"""Distance of two regions from which they show two things, as a share of their mean side."""
WEIGHT = 0.5
"""Share of the mean ambiguity of both crops that is subtracted. Views of training places are
separated best by 0.75, crops that differ little between the cameras by less."""
PRIOR = 0.5
"""Number of other things with a mean likelihood ratio of 1 that an image is assumed to show beside
those that it does show."""


def apart(rois: Sequence[Roi | None]) -> np.ndarray:
    """Return which pairs of regions of an image show two things, bool `[N, N]`.

    Regions that overlap much may be parts of one thing. Crops without a region count as apart from
    all others. The diagonal is false.
    """
    count = len(rois)
    found = ~np.eye(count, dtype=bool)
    known = np.flatnonzero([roi is not None for roi in rois])
    if len(known):
        regions = [roi for roi in rois if roi is not None]
        centers = np.array([roi.center for roi in regions], float)
        sides = np.array([max(roi.width, roi.height) for roi in regions], float)
        distances = np.abs(centers[:, None] - centers[None]).max(-1)
        found[np.ix_(known, known)] &= distances >= APART * (sides[:, None] + sides[None]) / 2
    return found


def ambiguity(log_ratios: np.ndarray, distinct: np.ndarray) -> np.ndarray:
    """Return how easily the crops of an image are confused with others, `[N]`; 0 is typical.

    `log_ratios` `[N, N]` are the log-likelihood ratios of the crops of the image with each other,
    and `distinct`, bool `[N, N]`, tells which of them show two things. A crop without another
    thing in the image, or without finite ratios, has 0.
    """
    known = distinct & np.isfinite(log_ratios)
    total = np.where(known, np.exp(np.where(known, log_ratios, 0.0)), 0.0).sum(axis=1)
    return np.log((PRIOR + total) / (PRIOR + known.sum(axis=1)))


def correction(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return what is subtracted from log-likelihood ratios, `[N, M]`.

    `first` `[N]` and `second` `[M]` are the ambiguities of the crops of two images.
    """
    return WEIGHT * (first[:, None] + second[None]) / 2


def posterior(log_ratios: np.ndarray) -> np.ndarray:
    """Return the log-likelihood ratios `[N, M]` of pairs against all alternatives.

    The alternatives of a pair are that one of its crops and another crop show one thing, and that
    neither has a partner. A crop is assumed to have one with a chance of one half, and each
    candidate is as likely as the others before they are compared. Only the pair alone: its ratio.
    """
    if not log_ratios.size:
        return log_ratios
    top = max(0.0, float(log_ratios.max()))  # large ratios would overflow
    likelihoods = np.exp(log_ratios - top)
    with np.errstate(divide='ignore'):
        rivals = top + np.log(_others(likelihoods) + _others(likelihoods.T).T)
    none = np.log(sum(log_ratios.shape) / 2)
    return log_ratios + none - np.logaddexp(none, rivals)


def _others(values: np.ndarray) -> np.ndarray:
    """Return the sum of the other values of each row, without the rounding error of a difference.

    A large value minus itself would leave an error above the sum of the small ones.
    """
    before, after = np.zeros_like(values), np.zeros_like(values)
    before[:, 1:] = np.cumsum(values, axis=1)[:, :-1]
    after[:, :-1] = np.cumsum(values[:, :0:-1], axis=1)[:, ::-1]
    return before + after
