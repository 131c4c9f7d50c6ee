# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Predicts the profile of the next volume of a video with a trained SpiralRnn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from sage_perception.zspace.checks import ZSpaceError, finite_array
from sage_perception.zspace.spiral_rnn import SpiralRnn
from sage_perception.zspace.volume import SliceProfile

_HEAD = ('head_weight', 'head_bias', 'mean', 'scale')


class ProfilePredictor:
    """Predicts means, deviations and energies of the slices one frame ahead.

    The profile of D slices is the vector p of 3·D numbers (means, stds, energies), standardized
    with statistics of the training data. The cell gets the last two changes of p, so that the
    level of a scene does not matter; a linear head gives the next change: p̂ = p + head(h).
    `models.networks.zspace.profile` trains it.
    """

    def __init__(self, state: Mapping[str, ArrayLike]) -> None:
        """Set the weights.

        `state` has those of a `SpiralRnn` with input size 6·D and the prefix `rnn.`, `head_weight`
        `[H, 3·D]`, `head_bias` `[3·D]`, and `mean` and `scale` `[3·D]` of the profiles. Raises
        `ZSpaceError` if they do not fit.
        """
        for name in _HEAD:
            if name not in state:
                raise ZSpaceError(f'the state dict of a ProfilePredictor has no {name}')
        self._rnn = SpiralRnn.from_state_dict(
            {k.removeprefix('rnn.'): v for k, v in state.items() if k.startswith('rnn.')}
        )
        self._weight = finite_array('head_weight', state['head_weight'], 2)
        self._bias, self._mean, self._scale = (
            finite_array(name, state[name], 1) for name in _HEAD[1:]
        )
        size = self._bias.size
        fits = (
            size % 3 == 0
            and self._mean.shape == self._scale.shape == (size,)
            and self._weight.shape == (self._rnn.hidden, size)
            and self._rnn.input_dim == 2 * size
            and (self._scale > 0).all()
        )
        if not fits:
            raise ZSpaceError('the weights of a ProfilePredictor do not fit each other')
        self.depth = size // 3
        self.reset()

    def reset(self) -> None:
        """Forget all profiles."""
        self._state = self._rnn.initial_state()
        self._last: np.ndarray | None = None
        self._change = np.zeros_like(self._mean)

    def predict(self, profile: SliceProfile) -> SliceProfile:
        """Add the profile of the present volume and return the expected next one.

        Deviations and energies are not negative. Raises `ZSpaceError` for another depth.
        """
        flat = np.concatenate(profile)
        if flat.size != 3 * self.depth:
            raise ZSpaceError(
                f'a profile of {profile.means.size} slices; the predictor has {self.depth}'
            )
        present = (flat - self._mean) / self._scale
        change = np.zeros_like(present) if self._last is None else present - self._last
        inputs = np.concatenate([change, self._change])[None]
        self._last, self._change = present, change
        self._state = self._rnn.step(self._state, inputs)
        ahead = present + (self._state @ self._weight)[0] + self._bias
        means, stds, energies = (ahead * self._scale + self._mean).reshape(3, -1)
        return SliceProfile(means, np.maximum(stds, 0), np.maximum(energies, 0))
