# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Masks of slots refined on the pixels of the image, and slots that are not needed joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from sage_perception.core.settings import Interval, check

DARKEST = 0.1
"""Added to RGB in [0, 1] before the logarithm, which bounds the noise of dark pixels."""
RIDGE = 1.0
"""Weight of the squared change of a color over the image against those of single pixels."""
MIN_MASK = 1e-6


@dataclass(frozen=True)
class MaskRefinement:
    """How masks are refined, from the configuration of a slot model.

    The pixels of a slot are taken for its color, constant or affine in the position, plus Gaussian
    noise. The masks of the model are the prior of which slot a pixel belongs to; rounds of
    expectation maximization fit the colors and return the posterior (the mixture of Greff et al.,
    Neural Expectation Maximization, 2017). Slots are then joined, as long as the description of
    the image gets shorter: two slots that one color explains almost as well cost fewer nats in the
    pixels than `penalty` (region competition of Zhu and Yuille, 1996; joined slots: Aydemir et
    al., 2023).

    Attributes
    ----------
    rounds : int
        Rounds of expectation maximization; 0 leaves the masks as they are.
    noise : float
        Standard deviation of a pixel from the color of its slot.
    penalty : float
        Nats that a slot must save; 0: any number.
    tolerance : float
        Distance of the colors of two slots up to which they are joined; 0: none. Pixels of a
        texture are not independent, so that large slots of it save many nats.
    affine : bool
        Whether a color changes linearly over the image.
    log : bool
        Whether colors are logarithmic; see `colors`.
    luminance : float
        Weight of the brightness of logarithmic colors.

    """

    rounds: Annotated[int, Interval(0, 32)] = 0
    noise: Annotated[float, Interval(0.01, 1)] = 0.1
    penalty: Annotated[float, Interval(0, 1e6)] = 0.0
    tolerance: Annotated[float, Interval(0, 10)] = 0.0
    affine: bool = False
    log: bool = False
    luminance: Annotated[float, Interval(0.05, 1)] = 0.4

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> MaskRefinement:
        """Return the refinement of the fields of `SlotsConfig`; missing ones disable it."""
        return cls(
            rounds=config.get('mask_rounds', 0),
            noise=config.get('mask_noise', 0.1),
            penalty=config.get('slot_penalty', 0.0),
            tolerance=config.get('slot_tolerance', 0.0),
            affine=config.get('colors') == 'affine',
            log=config.get('color_space') == 'log',
            luminance=config.get('luminance', 0.4),
        )

    def __post_init__(self) -> None:
        check(self)

    def colors(self, x: np.ndarray) -> np.ndarray:
        """Return images, RGB `[..., C, S, S]` in [0, 1], in the color space of the model."""
        if not self.log:
            return x
        logarithm = np.log(np.maximum(x, 0) + DARKEST)
        return logarithm - (1 - self.luminance) * logarithm.mean(-3, keepdims=True)

    def refine(self, masks: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return refined masks of an image, float32 `[K, S, S]`, which sum to 1 over the slots.

        The mask of a slot that is joined with another one is 0.

        Args:
            masks: float `[K, S, S]`.
            x: the image, float `[C, S, S]` in [0, 1].

        """
        if not self.rounds:
            return masks
        count, size = masks.shape[0], masks.shape[-1]
        pixels = self.colors(x).reshape(len(x), -1).astype(np.float64)
        terms = color_terms(size).reshape(3, -1)[: 3 if self.affine else 1]
        prior = np.log(masks.reshape(count, -1) + MIN_MASK)
        posterior = np.exp(prior)
        for _ in range(self.rounds):
            fitted = np.einsum('kpc,pn->kcn', _fit(posterior, terms, pixels), terms)
            error = np.square(fitted - pixels).sum(1)
            scores = prior - error / (2 * self.noise**2)
            posterior = np.exp(scores - scores.max(0))
            posterior /= posterior.sum(0)
        if self.penalty or self.tolerance:
            posterior = self._joined(posterior, terms, pixels)
        return posterior.reshape(masks.shape).astype(np.float32)

    def _joined(self, masks: np.ndarray, terms: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Return masks `[K, N]` with those of slots that save too little added to another one.

        A slot keeps its number if it has the lowest of those joined.
        """
        owner = masks.argmax(0)
        regions = {k: _Region.of(terms[:, owner == k], pixels[:, owner == k]) for k in {*owner}}
        joined = masks.copy()
        for empty in {*range(len(masks))} - {*regions}:
            joined[min(regions)] += joined[empty]
            joined[empty] = 0
        while True:
            costs = {
                (a, b): self._cost(regions[a], regions[b])
                for a in regions
                for b in regions
                if a < b
            }
            pair = min(costs, key=costs.__getitem__, default=None)
            if pair is None or costs[pair] >= 1:
                break
            kept, removed = pair
            regions[kept] = regions[kept] + regions.pop(removed)
            joined[kept] += joined[removed]
            joined[removed] = 0
        return joined

    def _cost(self, first: _Region, second: _Region) -> float:
        """Return what it costs to join two regions, relative to what is allowed."""
        error = max((first + second).error - first.error - second.error, 0.0)
        nats = error / (2 * self.noise**2)
        distance = np.sqrt(error * (1 / first.area + 1 / second.area))
        costs = [
            cost / allowed
            for cost, allowed in ((nats, self.penalty), (distance, self.tolerance))
            if allowed
        ]
        return min(costs, default=np.inf)


def color_terms(size: int, center: Sequence[float] | np.ndarray = (0, 0)) -> np.ndarray:
    """Return what affine colors depend on at each pixel, float64 `[3, size, size]`.

    These are 1, and the distances x and y from `center` (x, y), in halves of the image.
    """
    line = np.linspace(-1, 1, size)
    y, x = np.meshgrid(line - center[1], line - center[0], indexing='ij')
    return np.stack((np.ones_like(x), x, y))


def fit_color(terms: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the coefficients `[P, C]` of the color of pixels by least squares.

    `terms` are `[P, N]` and `pixels` `[C, N]`.
    """
    return np.linalg.solve(terms @ terms.T + _ridge(len(terms)), terms @ pixels.T)


def _ridge(count: int) -> np.ndarray:
    """Return what is added to the moments `[P, P]` of terms; the constant is hardly changed."""
    return np.diag([MIN_MASK, *(RIDGE,) * (count - 1)])


def _fit(weights: np.ndarray, terms: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the coefficients `[K, P, C]` of the colors of slots by weighted least squares.

    `weights` are `[K, N]`, `terms` `[P, N]` and `pixels` `[C, N]`.
    """
    count = len(terms)
    products = (terms[:, None] * terms).reshape(count**2, -1)
    moments = (weights @ products.T).reshape(-1, count, count) + _ridge(count)
    return np.linalg.solve(moments, ((weights[:, None] * terms) @ pixels.T))


@dataclass
class _Region:
    """Sums over the pixels of a region, from which the error of its best color follows.

    Attributes:
        moments: of the terms, `[P, P]`.
        products: of terms and colors, `[P, C]`.
        squares: of the colors.
    """

    moments: np.ndarray
    products: np.ndarray
    squares: float

    @classmethod
    def of(cls, terms: np.ndarray, pixels: np.ndarray) -> _Region:
        """Return the sums over pixels: terms `[P, n]`, colors `[C, n]`."""
        return cls(terms @ terms.T, terms @ pixels.T, float(np.square(pixels).sum()))

    def __add__(self, other: _Region) -> _Region:
        return _Region(
            self.moments + other.moments,
            self.products + other.products,
            self.squares + other.squares,
        )

    @property
    def area(self) -> float:
        """Return the number of pixels; the first term is 1."""
        return float(self.moments[0, 0])

    @property
    def error(self) -> float:
        """Return the smallest sum of squared errors of a color."""
        best = np.linalg.solve(self.moments + _ridge(len(self.moments)), self.products)
        return self.squares - float((self.products * best).sum())
