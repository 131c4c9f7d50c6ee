# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""How far a latent may be trusted by what its own encoder measured of it.

Trust is the quality that a receiver's image can be expected to have: the MS-SSIM of what the
latent decodes to, which a `QualityMap` that comes with the model predicts. It is fitted on data
(`sage calibrate-trust`), and docs/trust.md has its figures. A model without one is trusted by the
formula of the specification, which falls as a model learns to say more: see `telemetry_trust`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

NEGLIGIBLE = 1e-5  # mean squared error, and variance, below which less makes no difference
UNUSUAL = 2.0  # times the largest distance of the fitted latents at which no trust is left


def telemetry_trust(reconstruction_error: float, kl_per_dim: float) -> float:
    """Return the specification's trust in one latent, in [0, 1].

    Half of it is how well the latent decodes, `max(0, 1 - 10 MSE)` with pixels in [0, 1]; half how
    little it strays from the prior, `1 / (1 + KL)` with KL in nats per dimension
    (`VAE translation layer`, section 6.1). What was not measured, or is not finite, earns nothing.
    The second half is at odds with the first: the more a latent says, the larger is KL.
    """
    decodes = 1 - 10 * reconstruction_error if reconstruction_error >= 0 else 0.0
    plain = 1 / (1 + kl_per_dim) if kl_per_dim >= 0 else 0.0
    parts = [part for part in (decodes, plain) if math.isfinite(part)]
    return sum(min(max(part, 0.0), 1.0) for part in parts) / 2


@dataclass(frozen=True)
class QualityMap:
    """The MS-SSIM that a latent's image will have, by what is known when it is encoded.

    A score falls with the logarithm of the reconstruction error and rises with that of the
    image's variance; an isotonic regression maps it to quality, so that a larger error never
    earns more trust. Latents farther from the model's statistics than any it was fitted on lose
    trust in proportion.

    Attributes
    ----------
    error, variance : float
        Weights of both logarithms, error ≤ 0 ≤ variance.
    scores, qualities : tuple of float
        Points of the isotonic map, both ascending; linear between them, constant beyond.
    farthest : float
        Distance from the model's mean of the farthest latent fitted on, standard deviations.
    margin : float
        Cross-conformal: of nine images in ten the quality is not below the trust less this.

    """

    error: float
    variance: float
    scores: tuple[float, ...]
    qualities: tuple[float, ...]
    farthest: float
    margin: float

    def __post_init__(self):
        numbers = (self.error, self.variance, self.farthest, self.margin)
        scores, qualities = np.asarray(self.scores, float), np.asarray(self.qualities, float)
        sound = (
            np.isfinite([*numbers, *scores, *qualities]).all()
            and self.error <= 0 <= self.variance
            and self.farthest > 0
            and scores.shape == qualities.shape
            and len(scores)
            and (np.diff(scores) > 0).all()
            and (np.diff(qualities) >= 0).all()
            and 0 <= qualities[0] <= qualities[-1] <= 1
        )
        if not sound:
            raise ValueError('the numbers are no monotone map to [0, 1]')

    def score(self, error: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Return what is mapped to quality: more is better."""
        return self.error * np.log(error + NEGLIGIBLE) + self.variance * np.log(
            variance + NEGLIGIBLE
        )

    def trust(self, error: np.ndarray, variance: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Return trust `[B]` in [0, 1]; 0 where anything was not measured or is not finite.

        `error` `[B]` is the mean squared error of the decoded latent, `variance` `[B]` that of the
        image around its mean color, pixels in [0, 1]; `distance` `[B]` is what
        `distance` returns.
        """
        known = np.isfinite(error) & np.isfinite(variance) & np.isfinite(distance) & (error >= 0)
        score = self.score(*(np.where(known, value, 1.0) for value in (error, variance)))
        usual = UNUSUAL - np.where(known, distance, np.inf) / self.farthest
        return np.interp(score, self.scores, self.qualities) * usual.clip(0, 1) * known


def distance(z: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return how far latents `[B, ...]` are from their model's, `[B]`, in standard deviations.

    Mahalanobis' distance for independent dimensions, per dimension: about 1 for its own.
    """
    apart = ((z - mean) / std).reshape(len(z), -1).astype(np.float64)
    return np.sqrt(np.square(apart).mean(1))


def variance(x: np.ndarray) -> np.ndarray:
    """Return the variance of images `[B, C, H, W]` around their mean colors, `[B]`."""
    with np.errstate(invalid='ignore'):  # infinite pixels
        return x.astype(np.float64).var((2, 3)).mean(1)


class TelemetryTrust:
    """Trust in latents of one model, by its map of quality or else by the specification."""

    def __init__(self, quality: QualityMap | None, mean: np.ndarray, std: np.ndarray):
        self.quality = quality
        self._mean, self._std = mean, std

    def __call__(
        self, error: np.ndarray, kl: np.ndarray, z: np.ndarray, x: np.ndarray
    ) -> np.ndarray:
        """Return trust `[B]` in [0, 1] in latents `z` of images `x` `[B, C, H, W]`.

        `error` `[B]` is the mean squared error of what they decode to, `kl` `[B]` in nats per
        dimension; NaN where not measured.
        """
        if self.quality is None:
            return np.array([telemetry_trust(*pair) for pair in zip(error, kl, strict=True)])
        return self.quality.trust(error, variance(x), distance(z, self._mean, self._std))
