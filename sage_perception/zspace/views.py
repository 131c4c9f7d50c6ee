# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Weights of cameras from their directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from sage_perception.zspace.checks import ZSpaceError, finite_array, normalized, number

MIN_GAMMA, MAX_GAMMA = 0.25, 8.0
"""Range of the exponent of the alignment."""
MIN_ALIGNMENT = 1e-3
"""Alignment of a camera that faces away from the focus."""
MIN_BASELINE = 1e-3
"""Smallest baseline weight that is used."""
MAX_VIEWS = 256
"""Maximum number of views of a fusion."""


@dataclass(frozen=True, eq=False)
class ViewDescriptor:
    """Pose and weight of a camera (spec 004, Multi-view Z-fusion).

    `position` is in meters and `forward` is the direction of the optical axis, both `[3]` in one
    frame that all views share; `forward` has any length above 0. `baseline_weight`, at least 0, is
    the weight apart from the direction, for example the trust in the camera. Raises
    `ZSpaceError` for invalid values.
    """

    name: str
    position: ArrayLike
    forward: ArrayLike
    baseline_weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, 'position', _vector(f'position of {self.name}', self.position))
        object.__setattr__(self, 'forward', _direction(f'forward of {self.name}', self.forward))
        number(f'baseline weight of {self.name}', self.baseline_weight, 0)

    def with_baseline_weight(self, weight: float) -> ViewDescriptor:
        """Return the view with another baseline weight."""
        return replace(self, baseline_weight=weight)


class MultiViewFusion:
    """Weighs views by how well they face the focus (spec 004, Multi-view Z-fusion).

    w_v ∝ max(forward_v · focus, 1e-3)^γ · max(baseline_v, minimum), with unit vectors. The focus
    is a direction that holds for all views, or a point, to which each view has its own direction.
    The `with_…` methods return a changed copy.
    """

    def __init__(self, views: Sequence[ViewDescriptor]) -> None:
        """Set the views; the focus is the mean of their directions, γ is 1 and the minimum 1e-3.

        If the directions cancel, the focus is that of the first view. Raises `ZSpaceError` for no
        view or more than `MAX_VIEWS`.
        """
        if not 0 < len(views) <= MAX_VIEWS:
            raise ZSpaceError(f'a fusion needs 1 to {MAX_VIEWS} views, not {len(views)}')
        self.views = tuple(views)
        self._forwards = np.stack([np.asarray(view.forward) for view in self.views])
        mean = self._forwards.mean(axis=0)
        usable = float(np.linalg.norm(mean)) > 1e-6
        self._focus = np.broadcast_to(
            mean / np.linalg.norm(mean) if usable else self._forwards[0], self._forwards.shape
        )
        self.alignment_gamma = 1.0
        self.min_baseline = MIN_BASELINE

    def with_focus_direction(self, direction: ArrayLike) -> MultiViewFusion:
        """Return the fusion that favors views along `direction` `[3]`, of any length above 0."""
        unit = _direction('focus direction', direction)
        return self._with(_focus=np.broadcast_to(unit, self._forwards.shape))

    def with_focus_point(self, point: ArrayLike) -> MultiViewFusion:
        """Return the fusion that favors views which face `point` `[3]`, meters.

        A view at the point itself counts as facing it.
        """
        offsets = _vector('focus point', point) - np.stack(
            [np.asarray(view.position) for view in self.views]
        )
        lengths = np.linalg.norm(offsets, axis=1, keepdims=True)
        units = np.where(lengths > 1e-9, offsets / np.maximum(lengths, 1e-9), self._forwards)
        return self._with(_focus=units)

    def with_alignment_gamma(self, gamma: float) -> MultiViewFusion:
        """Return the fusion with the exponent γ, in [0.25, 8]."""
        return self._with(alignment_gamma=number('alignment gamma', gamma, MIN_GAMMA, MAX_GAMMA))

    def with_min_baseline(self, minimum: float) -> MultiViewFusion:
        """Return the fusion in which a baseline weight counts at least `minimum`, in [0, 1]."""
        return self._with(
            min_baseline=max(number('minimum baseline', minimum, 0, 1), MIN_BASELINE)
        )

    def with_baseline_weights(self, weights: ArrayLike) -> MultiViewFusion:
        """Return the fusion with new baseline weights `[V]`, in the order of the views."""
        given = finite_array('baseline weights', weights, 1)
        if given.size != len(self.views):
            raise ZSpaceError(f'{given.size} baseline weights for {len(self.views)} views')
        views = [v.with_baseline_weight(float(w)) for v, w in zip(self.views, given, strict=True)]
        return self._with(views=tuple(views))

    def view_bias_profile(self) -> np.ndarray:
        """Return the weights of the views, float64 `[V]` with the sum 1."""
        alignment = np.maximum((self._forwards * self._focus).sum(axis=1), MIN_ALIGNMENT)
        baselines = np.array([view.baseline_weight for view in self.views])
        baselines = np.maximum(baselines, self.min_baseline)
        # Relative to the largest values: small alignments to the power 8 would underflow, and a
        # sum of large baselines may overflow.
        biases = (alignment / alignment.max()) ** self.alignment_gamma
        biases = biases * (baselines / baselines.max())
        return normalized(biases / biases.max())

    def _with(self, **changes: object) -> MultiViewFusion:
        changed = MultiViewFusion.__new__(MultiViewFusion)
        changed.__dict__.update(self.__dict__, **changes)
        return changed


def _vector(name: str, values: ArrayLike) -> np.ndarray:
    vector = finite_array(name, values, 1)
    if vector.shape != (3,):
        raise ZSpaceError(f'{name} has {vector.size} elements; it must have 3')
    return vector


def _direction(name: str, values: ArrayLike) -> np.ndarray:
    vector = _vector(name, values)
    largest = float(abs(vector).max())
    if largest < 1e-9:
        raise ZSpaceError(f'{name} has no direction; its length must be above 0')
    # Divided by the largest element first: the square of a large one would overflow.
    vector = vector / largest
    return vector / float(np.linalg.norm(vector))
