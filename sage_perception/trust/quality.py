# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Trust in a latent from the measurements of its own encoder.

Trust is the expected quality of the image that a receiver decodes: its MS-SSIM, predicted by a
`QualityMap` that belongs to the model. `sage calibrate-trust` fits the map; docs/trust.md has the
figures. A model without a map uses the formula of the specification, see `telemetry_trust`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

NEGLIGIBLE = 1e-5
"""Mean squared error, and variance, below which a difference has no effect."""
MAX_DISTANCE_RATIO = 2.0
"""Distance from the model's statistics at which trust is 0, relative to the largest fitted one."""


def telemetry_trust(reconstruction_error: float, kl_per_dim: float) -> float:
    """Return the specification's trust in one latent, in [0, 1].

    It is the mean of the reconstruction quality, `max(0, 1 - 10 MSE)` with pixels in [0, 1], and
    of the closeness to the prior, `1 / (1 + KL)` with KL in nats per dimension (specification of
    the VAE translation layer, section 6.1). A value that was not measured, NaN, or is not finite
    contributes 0. The two terms conflict: the more information a latent has, the larger is KL.
    """
    quality = 1 - 10 * reconstruction_error if reconstruction_error >= 0 else 0.0
    closeness = 1 / (1 + kl_per_dim) if kl_per_dim >= 0 else 0.0
    terms = [term for term in (quality, closeness) if math.isfinite(term)]
    return sum(min(max(term, 0.0), 1.0) for term in terms) / 2


@dataclass(frozen=True)
class QualityMap:
    """Predicts the MS-SSIM of a latent's image from measurements at encoding time.

    A score decreases with the logarithm of the reconstruction error and increases with that of the
    image's variance. An isotonic map turns it into quality, so a larger error never yields more
    trust. Latents farther from the model's statistics than any fitted one lose trust linearly.

    Raises `ValueError` unless the map is finite, monotone, and has values in [0, 1].

    Attributes
    ----------
    error, variance : float
        Weights of the two logarithms, error ≤ 0 ≤ variance.
    scores, qualities : tuple of float
        Points of the isotonic map, both ascending; linear in between, constant outside.
    farthest : float
        Largest distance of a fitted latent from the model's mean, in standard deviations.
    margin : float
        For nine images out of ten the quality is at least the trust minus this (cross-conformal).

    """

    error: float
    variance: float
    scores: tuple[float, ...]
    qualities: tuple[float, ...]
    farthest: float
    margin: float

    def __post_init__(self) -> None:
        numbers = (self.error, self.variance, self.farthest, self.margin)
        scores, qualities = np.asarray(self.scores, float), np.asarray(self.qualities, float)
        valid = (
            np.isfinite([*numbers, *scores, *qualities]).all()
            and self.error <= 0 <= self.variance
            and self.farthest > 0
            and scores.shape == qualities.shape
            and len(scores)
            and (np.diff(scores) > 0).all()
            and (np.diff(qualities) >= 0).all()
            and 0 <= qualities[0] <= qualities[-1] <= 1
        )
        if not valid:
            raise ValueError('the quality map is not finite, monotone, and in [0, 1]')

    def score(self, error: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Return the score `[B]` that the isotonic map turns into quality; higher is better."""
        return self.error * np.log(error + NEGLIGIBLE) + self.variance * np.log(
            variance + NEGLIGIBLE
        )

    def trust(self, error: np.ndarray, variance: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Return trust `[B]` in [0, 1]; 0 where an argument is not finite or not measured.

        `error` `[B]` is the mean squared error of the decoded latent, pixels in [0, 1]; `variance`
        `[B]` is that of `image_variance` and `distance` `[B]` that of `latent_distance`.
        """
        known = np.isfinite(error) & np.isfinite(variance) & np.isfinite(distance) & (error >= 0)
        score = self.score(*(np.where(known, value, 1.0) for value in (error, variance)))
        nearness = MAX_DISTANCE_RATIO - np.where(known, distance, np.inf) / self.farthest
        return np.interp(score, self.scores, self.qualities) * nearness.clip(0, 1) * known


def latent_distance(z: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return the distance `[B]` of latents `[B, ...]` from a model's mean, about 1 for its own.

    It is the root mean square over dimensions in standard deviations: the Mahalanobis distance
    for independent dimensions, divided by √D.
    """
    standardized = ((z - mean) / std).reshape(len(z), -1).astype(np.float64)
    return np.sqrt(np.square(standardized).mean(1))


def image_variance(x: np.ndarray) -> np.ndarray:
    """Return the variance `[B]` of images `[B, C, H, W]` around their mean colors."""
    # Several times faster than `np.var` in double precision, and as accurate.
    planes = x.reshape(-1, *x.shape[2:])
    deviations = np.array([cv2.meanStdDev(plane)[1].item() for plane in planes])
    return np.square(deviations).reshape(x.shape[:2]).mean(1)


class TelemetryTrust:
    """Computes the trust in latents of one model, by its quality map or the specification."""

    def __init__(self, quality: QualityMap | None, mean: np.ndarray, std: np.ndarray):
        """Prepare; `mean` and `std` are the statistics of the model's latents."""
        self.quality = quality
        self._mean, self._std = mean, std

    def __call__(
        self, error: np.ndarray, kl: np.ndarray, z: np.ndarray, x: np.ndarray
    ) -> np.ndarray:
        """Return trust `[B]` in [0, 1] in latents `z` of images `x` `[B, C, H, W]`.

        `error` `[B]` is the mean squared error of the decoded latents, `kl` `[B]` is in nats per
        dimension; NaN means not measured.
        """
        if self.quality is None:
            return np.array([telemetry_trust(*pair) for pair in zip(error, kl, strict=True)])
        distance = latent_distance(z, self._mean, self._std)
        return self.quality.trust(error, image_variance(x), distance)
