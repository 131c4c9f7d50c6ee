# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Heads on projected maps: peaks with their regions, and a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sage_perception.zspace.checks import ZSpaceError, finite_array, number, whole_number


class Peak(NamedTuple):
    """A maximum of a map at (x, y), cells, and the half-open `box` (x0, y0, x1, y1) around it."""

    x: float
    y: float
    value: float
    box: tuple[int, int, int, int]


def find_peaks(
    saliency: ArrayLike, count: int, min_value: float = 0.0, min_distance: int = 3
) -> list[Peak]:
    """Return up to `count` maxima of a map `[H, W]`, highest first.

    Each place is refined to a fraction of a cell with a parabola through its neighbors. The box
    extends along the row and the column of the peak while the values exceed half of it. Cells
    within `min_distance` of a peak, and within its box, are no further peaks. Maxima up to
    `min_value` are left out. Raises `ZSpaceError` for a map that is not finite.
    """
    values = finite_array('map', saliency, 2).copy()
    whole_number('count', count, 1, values.size)
    number('min_value', min_value)
    original = values.copy()
    peaks: list[Peak] = []
    while len(peaks) < count:
        row, column = map(int, np.unravel_index(values.argmax(), values.shape))
        value = float(values[row, column])
        if not value > min_value:
            break
        top, bottom = _extent(original[:, column], row)
        left, right = _extent(original[row], column)
        x = column + _offset(original[row], column)
        y = row + _offset(original[:, column], row)
        peaks.append(Peak(x, y, value, (left, top, right, bottom)))
        rows = slice(max(min(top, row - min_distance), 0), max(bottom, row + min_distance + 1))
        columns = slice(
            max(min(left, column - min_distance), 0), max(right, column + min_distance + 1)
        )
        values[rows, columns] = -np.inf
    return peaks


def _extent(line: np.ndarray, index: int) -> tuple[int, int]:
    """Return the half-open range around `index` in which a line exceeds half of its value."""
    low = line <= line[index] / 2 if line[index] > 0 else np.arange(line.size) != index
    before, after = np.flatnonzero(low[:index]), np.flatnonzero(low[index:])
    return (
        int(before[-1]) + 1 if before.size else 0,
        index + (int(after[0]) if after.size else line.size - index),
    )


def _offset(line: np.ndarray, index: int) -> float:
    """Return the place of the vertex of a parabola through three values, from -0.5 to 0.5."""
    if not 0 < index < line.size - 1:
        return 0.0
    before, here, after = line[index - 1 : index + 2]
    curvature = before - 2 * here + after
    if not curvature < 0:
        return 0.0
    return float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5))


class MapClassifier:
    """A linear classifier of maps, averaged over a grid of cells.

    `fit` solves ridge regression to one-hot targets in closed form; the training maps are
    standardized per cell.

    Attributes
    ----------
    labels : tuple of str
        The classes, in the order of the scores.
    weights : numpy.ndarray
        float64 `[G·G + 1, C]`, the last row is the bias.

    """

    def __init__(
        self,
        labels: Sequence[str],
        weights: ArrayLike,
        mean: ArrayLike,
        scale: ArrayLike,
        grid: int,
    ) -> None:
        """Set the weights `[G·G + 1, C]` of standardized cells; raise `ZSpaceError` otherwise."""
        self.labels = tuple(labels)
        self.grid = whole_number('grid', grid, 1, 64)
        self.weights = finite_array('weights', weights, 2)
        self.mean, self.scale = finite_array('mean', mean, 1), finite_array('scale', scale, 1)
        cells = grid * grid
        if self.weights.shape != (cells + 1, len(self.labels)) or not (
            self.mean.shape == self.scale.shape == (cells,)
        ):
            raise ZSpaceError(
                f'weights {self.weights.shape} do not fit {cells} cells and '
                f'{len(self.labels)} classes'
            )

    @classmethod
    def fit(
        cls,
        maps: Sequence[ArrayLike],
        labels: Sequence[str],
        grid: int = 4,
        ridge: float = 1.0,
    ) -> MapClassifier:
        """Return a classifier trained on maps `[H, W]` and the label of each.

        `ridge`, above 0, is the penalty on the squared weights. Raises `ZSpaceError` for no maps,
        labels that do not match, or a single class.
        """
        number('ridge', ridge, 1e-12)
        names = sorted(set(labels))
        if not len(maps) or len(maps) != len(labels) or len(names) < 2:
            raise ZSpaceError(
                f'{len(maps)} maps and {len(labels)} labels of {len(names)} classes; a classifier '
                'needs one label per map and at least two classes'
            )
        cells = np.stack([pooled(each, grid).ravel() for each in maps])
        mean, scale = cells.mean(axis=0), np.maximum(cells.std(axis=0), 1e-9)
        inputs = np.column_stack([(cells - mean) / scale, np.ones(len(cells))])
        targets = np.array([[float(label == name) for name in names] for label in labels])
        penalty = ridge * np.eye(inputs.shape[1])
        penalty[-1, -1] = 1e-9  # the bias is not penalized
        weights = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ targets)
        return cls(names, weights, mean, scale, grid)

    def scores(self, saliency: ArrayLike) -> np.ndarray:
        """Return the score of each class for a map `[H, W]`, float64 `[C]`."""
        cells = (pooled(saliency, self.grid).ravel() - self.mean) / self.scale
        return np.append(cells, 1) @ self.weights

    def classify(self, saliency: ArrayLike) -> str:
        """Return the class of a map `[H, W]` with the highest score."""
        return self.labels[int(self.scores(saliency).argmax())]


def pooled(saliency: ArrayLike, grid: int) -> np.ndarray:
    """Return the mean of a map `[H, W]` in each cell of a grid, float64 `[grid, grid]`.

    Raises `ZSpaceError` for a map with fewer rows or columns than the grid.
    """
    values = finite_array('map', saliency, 2)
    if min(values.shape) < grid:
        raise ZSpaceError(f'a map of shape {values.shape} has fewer cells than a grid of {grid}')
    rows, columns = (np.arange(grid) * size // grid for size in values.shape)
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    heights = np.diff(np.append(rows, values.shape[0]))
    widths = np.diff(np.append(columns, values.shape[1]))
    return sums / np.outer(heights, widths)
