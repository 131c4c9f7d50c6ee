# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Agreement of two crops from several cues: a fitted, calibrated log-likelihood ratio.

A fit is a sum of one function per cue, each piecewise linear and monotone: the more similar the
crops, the larger the sum. The sum is the logarithm of how much likelier the cues are for two views
of one object than for two objects. Its functions are fitted together, so cues that repeat each
other are not counted twice. There is one fit for each set of cues that a pair can have, and the
threshold of a fit is that of an error rate. Crops of whole images are compared with regard to the
other crops of their images, see `rivals.correction`, and have thresholds of their own. The file
`agreement.json` of a model has the fits: `tools/fit_agreement.py` writes it. Its `reentry.json`,
by `tools/fit_reentry.py`, is for the crops of one camera at different times: an object has turned
and moved, but exposure and white balance are the same.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sage_perception.core.discrimination import interpolated_threshold
from sage_perception.core.files import write_atomically
from sage_perception.core.reading import read_bounded
from sage_perception.core.text import one_line

FILE, REENTRY_FILE = 'agreement.json', 'reentry.json'
MAX_BYTES = 1 << 22
FIX = 'run tools/fit_agreement.py and tools/fit_reentry.py to write it again, or delete it'
MAX_LOG_RATIO = 20.0
"""Bound of the contribution of a cue."""
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)
HEAD, LATENT, COLOR, CODE, SMALL_CODE = 'head', 'latent', 'color', 'code', 'small_code'
PALETTE = 'palette'
CODES = (CODE, SMALL_CODE)
CUES = (HEAD, LATENT, COLOR, PALETTE, *CODES)
"""Cosine of the identity codes of the latents; cosine of the weighted latents; minus the distance
of the colors that the latents contain; cosine of the histograms of these colors; cosine of the
identity codes that are sent, of `semantic_text` and of `semantic_small`. A track has codes of one
of them."""
LEVELS = 6
"""Levels of each channel of a histogram of colors."""
MIDDLE = 0.25
"""Standard deviation, in sides of a crop, of the weight of its pixels in a histogram: the object
is in the middle, and what is behind it changes."""


@dataclass(frozen=True)
class CueFunction:
    """The contribution of a cue: piecewise linear through (`x`, `y`), constant outside.

    Both increase, `y` weakly. Raises `ValueError` otherwise.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        values = np.array([self.x, self.y], float) if len(self.x) == len(self.y) else np.empty(0)
        if values.ndim != 2 or values.shape[1] < 2 or not np.isfinite(values).all():
            raise ValueError('a cue function has two lists of the same 2 or more finite numbers')
        if (np.diff(values[0]) <= 0).any() or (np.diff(values[1]) < 0).any():
            raise ValueError('a cue function does not increase')
        if np.abs(values[1]).max() > MAX_LOG_RATIO:
            raise ValueError(f'a cue function exceeds {MAX_LOG_RATIO:g}')

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the contributions of values of the cue, of any shape; NaN stays NaN."""
        return np.interp(values, self.x, self.y)


@dataclass(frozen=True)
class Fit:
    """The functions of a set of cues, and thresholds of the sum by false positive rate.

    `image_thresholds` are those of the corrected sum, see `rivals.correction`, for crops of whole
    images. Without them, as in files of earlier versions, they are `thresholds`.
    """

    functions: Mapping[str, CueFunction]
    thresholds: Mapping[float, float]
    image_thresholds: Mapping[float, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.functions or not set(self.functions) <= set(CUES):
            raise ValueError(f'cues are {", ".join(self.functions)}, not some of {CUES}')
        if not self.thresholds:
            raise ValueError('there are no thresholds')
        for thresholds in (self.thresholds, self.image_thresholds):
            valid = all(0 < rate < 1 for rate in thresholds)
            if not valid or not np.isfinite([*thresholds.values()]).all():
                raise ValueError('thresholds must be finite, by rates in (0, 1)')

    def log_ratio(self, cues: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the sum of the functions of the cues; NaN where one of them is missing."""
        parts = [function(cues[name]) for name, function in self.functions.items()]
        return np.sum(parts, axis=0)

    def threshold(self, false_positive_rate: float, of_images: bool = False) -> float:
        """Return the sum above which two crops agree; see `interpolated_threshold`.

        `of_images` is for the corrected sum.
        """
        thresholds = self.image_thresholds if of_images else {}
        return interpolated_threshold(thresholds or self.thresholds, false_positive_rate)


@dataclass(frozen=True, eq=False)
class AgreementModel:
    """The fits of one model of latents.

    `fingerprint` of its latent space and `head`, the SHA-256 of its identity head, are
    hexadecimal; `head` is empty for a model without one. `color_map` `[D, K]` and `color_offset`
    `[K]` predict mean colors of parts of a crop, RGB in [0, 1], from a latent. `code_spaces` are
    the fingerprints of the spaces of the identity codes that were fitted, hexadecimal, by cue.
    """

    fingerprint: str
    head: str
    color_map: np.ndarray
    color_offset: np.ndarray
    fits: Sequence[Fit]
    code_spaces: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dim, colors = self.color_map.shape if self.color_map.ndim == 2 else (0, 0)
        square = math.isqrt(colors // 3) ** 2 * 3 == colors
        if not dim or not square or self.color_offset.shape != (colors,):
            raise ValueError(
                'color_map must be [D, K] and color_offset [K], K being 3 times a square'
            )
        if not (np.isfinite(self.color_map).all() and np.isfinite(self.color_offset).all()):
            raise ValueError('color_map and color_offset must be finite')
        if not self.fits:
            raise ValueError('there are no fits')

    @cached_property
    def cues(self) -> frozenset[str]:
        """Return the cues that the fits use."""
        return frozenset(name for fit in self.fits for name in fit.functions)

    def colors(self, latents: np.ndarray) -> np.ndarray:
        """Return the colors of latents `[N, D]`, `[N, K]`.

        Each part of a crop has its red and green relative to its blue and to the other parts, as
        logarithms, so that neither exposure nor white balance changes them much.
        """
        rgb = (np.asarray(latents, float) @ self.color_map + self.color_offset).clip(0.02, 1)
        count, parts = len(latents), self.color_offset.size // 3
        logs = np.log(rgb).reshape(count, parts, 3)
        level = logs.mean(axis=2, keepdims=True)
        chroma = logs - level
        # Half of the mean color is kept: it is that of the object, and partly of the light.
        chroma = chroma - 0.5 * chroma.mean(axis=1, keepdims=True)
        relative = level - level.mean(axis=1, keepdims=True)
        return np.concatenate([chroma, 0.5 * relative], axis=2).reshape(count, 4 * parts)

    def palette(self, latents: np.ndarray) -> np.ndarray:
        """Return the histograms of the colors of latents `[N, D]`, `[N, LEVELS³]`, of length 1.

        They are square roots, so that the cosine of two of them is that of Bhattacharyya. Each
        part of a crop counts for the nearest levels of its color, by their distance.
        """
        rgb = np.asarray(latents, float) @ self.color_map + self.color_offset
        count, parts = len(rgb), self.color_offset.size // 3
        position = rgb.reshape(count, parts, 3).clip(0, 1) * (LEVELS - 1)
        low = np.floor(position).clip(0, LEVELS - 2).astype(int)
        share = position - low
        weights, bins = _middle_weights(math.isqrt(parts)), LEVELS**3
        found = np.zeros(count * bins)
        first = bins * np.arange(count)[:, None]
        for corner in itertools.product((0, 1), repeat=3):
            index = first + (low + corner) @ (LEVELS**2, LEVELS, 1)
            near = np.where(corner, share, 1 - share).prod(axis=2)
            found += np.bincount(index.ravel(), (weights * near).ravel(), found.size)
        return np.sqrt(found.reshape(count, bins))

    def color_similarity(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return minus the distance of colors `[N, K]` and `[M, K]`, `[N, M]`."""
        return -np.linalg.norm(a[:, None] - b[None], axis=2)

    def log_ratios(
        self,
        cues: Mapping[str, np.ndarray],
        false_positive_rate: float,
        correction: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-likelihood ratios of pairs, and by how much they exceed the threshold.

        `cues` are of one shape, NaN where missing. For each pair the fit with the most cues that
        it has is used; without any, both are -inf. `correction`, see `rivals.correction`, is
        subtracted; None for crops that are not of whole images.
        """
        shape = next(iter(cues.values())).shape
        ratios, margins = np.full(shape, -np.inf), np.full(shape, -np.inf)
        for fit in sorted(self.fits, key=lambda each: len(each.functions)):
            if not set(fit.functions) <= set(cues):
                continue
            found = fit.log_ratio(cues)
            if correction is not None:
                found = found - correction
            known = np.isfinite(found)
            threshold = fit.threshold(false_positive_rate, correction is not None)
            ratios = np.where(known, found, ratios)
            margins = np.where(known, found - threshold, margins)
        return ratios, margins

    def write(self, folder: Path, file: str = FILE) -> Path:
        """Write `agreement.json`, or another file, to the folder of the model; return its path."""
        tree = {
            'fingerprint': self.fingerprint,
            'head': self.head,
            'code_spaces': dict(self.code_spaces),
            'color_map': np.round(self.color_map, 5).tolist(),
            'color_offset': np.round(self.color_offset, 5).tolist(),
            'fits': [
                {
                    'cues': {
                        name: {'x': _rounded(each.x), 'y': _rounded(each.y)}
                        for name, each in fit.functions.items()
                    },
                    'thresholds': _by_rate(fit.thresholds),
                    'image_thresholds': _by_rate(fit.image_thresholds),
                }
                for fit in self.fits
            ],
        }
        write_atomically(folder / file, json.dumps(tree) + '\n')
        return folder / file


def read(folder: Path, file: str = FILE) -> AgreementModel | None:
    """Return the agreement model in a file of the folder of a model, None if there is none.

    Raises `ValueError` in one line for a damaged file.
    """
    path = folder / file
    if not path.is_file():
        return None
    try:
        tree = json.loads(read_bounded(path, MAX_BYTES))
        return AgreementModel(
            _text(tree['fingerprint']),
            _text(tree['head']),
            np.array(tree['color_map'], float),
            np.array(tree['color_offset'], float),
            [_fit(each) for each in tree['fits']],
            _code_spaces(tree),
        )
    except OSError as error:
        raise ValueError(f'{path} is invalid: {error.strerror}; {FIX}') from error
    except _DAMAGE as error:
        raise ValueError(f'{path} is invalid: {one_line(error)}; {FIX}') from error


def _fit(tree: Any) -> Fit:
    functions = {
        name: CueFunction(tuple(map(float, each['x'])), tuple(map(float, each['y'])))
        for name, each in tree['cues'].items()
    }
    thresholds, of_images = (
        {float(rate): float(value) for rate, value in each.items()}
        for each in (tree['thresholds'], tree.get('image_thresholds', {}))
    )
    return Fit(functions, thresholds, of_images)


def _code_spaces(tree: Any) -> dict[str, str]:
    """Return the spaces of codes by cue; files of earlier versions have one."""
    spaces = tree.get('code_spaces', {CODE: tree.get('code_space', '')})
    if not set(spaces) <= set(CODES):
        raise ValueError(f'code_spaces are {one_line(list(spaces))}, not some of {CODES}')
    return {name: _text(space) for name, space in spaces.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is not a text')
    return value


def _middle_weights(side: int) -> np.ndarray:
    """Return the weights of the parts of a crop in its histogram, `[side²]`, of sum 1."""
    line = ((np.arange(side) + 0.5) / side - 0.5) / MIDDLE
    weights = np.exp(-0.5 * np.add.outer(line**2, line**2)).ravel()
    return weights / weights.sum()


def _by_rate(thresholds: Mapping[float, float]) -> dict[str, float]:
    return {str(rate): round(value, 4) for rate, value in thresholds.items()}


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 5) for value in values]
