# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""SpiralRnn: a recurrent cell that is anchored to a learned state."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from sage_perception.zspace.checks import ZSpaceError, finite_array, whole_number

MAX_SIZE = 4096
"""Maximum input and hidden size."""


class SpiralRnn:
    """The forward pass of a SpiralRnn (spec 004, Generative resonance coupling).

    The state starts at the anchor a. A step with the input x computes

        [d | r] = x·W_x + h·W_h + b
        g = sigmoid(h·P + r + p)
        h = g·h + (1 - g)·tanh(d) + a·tanh(r)

    `models.networks.zspace.SpiralRnn` is the same cell in torch, for training.

    Attributes
    ----------
    weights : dict of str to numpy.ndarray
        `anchor` `[1, H]`, `bias` `[1, 2H]`, `input_kernel` `[I, 2H]`, `state_kernel` `[H, 2H]`,
        `phase_kernel` `[H, H]` and `phase_bias` `[1, H]`, float64.

    """

    def __init__(self, input_dim: int, hidden: int, seed: int = 0) -> None:
        """Draw weights from `seed`; raise `ZSpaceError` for sizes outside 1 to `MAX_SIZE`."""
        self.input_dim = whole_number('input_dim', input_dim, 1, MAX_SIZE)
        self.hidden = whole_number('hidden', hidden, 1, MAX_SIZE)
        random = np.random.default_rng(seed)

        def draw(rows: int, columns: int, fan_in: int) -> np.ndarray:
            return random.uniform(-1, 1, (rows, columns)) / np.sqrt(fan_in)

        self.weights = {
            'anchor': draw(1, hidden, hidden),
            'bias': np.zeros((1, 2 * hidden)),
            'input_kernel': draw(input_dim, 2 * hidden, input_dim),
            'state_kernel': draw(hidden, 2 * hidden, hidden),
            'phase_kernel': draw(hidden, hidden, hidden),
            'phase_bias': np.zeros((1, hidden)),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, ArrayLike]) -> SpiralRnn:
        """Return a cell with the given weights; raise `ZSpaceError` if they do not fit."""
        for name in ('input_kernel', 'anchor'):
            if name not in state:
                raise ZSpaceError(f'the state dict of a SpiralRnn has no {name}')
        kernel = finite_array('input_kernel', state['input_kernel'], 2)
        anchor = finite_array('anchor', state['anchor'], 2)
        cell = cls(kernel.shape[0], anchor.shape[1])
        cell.load_state_dict(state)
        return cell

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of the weights by name."""
        return {name: value.copy() for name, value in self.weights.items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Set the weights; raise `ZSpaceError` for missing, unknown or invalid ones."""
        if state.keys() != self.weights.keys():
            names = ', '.join(sorted(state.keys() ^ self.weights.keys()))
            raise ZSpaceError(f'the state dict of a SpiralRnn has missing or unknown {names}')
        loaded = {name: finite_array(name, value, 2) for name, value in state.items()}
        for name, value in loaded.items():
            if value.shape != self.weights[name].shape:
                raise ZSpaceError(
                    f'{name} has the shape {value.shape}, not {self.weights[name].shape}'
                )
        self.weights = {name: value.copy() for name, value in loaded.items()}

    def initial_state(self, batch: int = 1) -> np.ndarray:
        """Return the state before the first step, float64 `[batch, H]`."""
        return np.repeat(self.weights['anchor'], batch, axis=0)

    def step(self, state: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Return the state `[B, H]` after a step with inputs `[B, I]`."""
        w = self.weights
        both = inputs @ w['input_kernel'] + state @ w['state_kernel'] + w['bias']
        drive, rotation = both[:, : self.hidden], both[:, self.hidden :]
        gate = _sigmoid(state @ w['phase_kernel'] + rotation + w['phase_bias'])
        return gate * state + (1 - gate) * np.tanh(drive) + w['anchor'] * np.tanh(rotation)

    def states(self, inputs: ArrayLike) -> np.ndarray:
        """Return the state after each step of inputs `[B, T, I]`, float64 `[B, T, H]`.

        Raises `ZSpaceError` for another shape or values that are not finite.
        """
        sequence = finite_array('inputs', inputs, 3)
        if sequence.shape[2] != self.input_dim:
            raise ZSpaceError(
                f'inputs have {sequence.shape[2]} features; the cell has input_dim '
                f'{self.input_dim}'
            )
        state = self.initial_state(len(sequence))
        result = np.empty((*sequence.shape[:2], self.hidden))
        for index in range(sequence.shape[1]):
            state = result[:, index] = self.step(state, sequence[:, index])
        return result

    def forward(self, inputs: ArrayLike) -> np.ndarray:
        """Return the last state, float64 `[B, H]`.

        `inputs` are `[B, T, I]`, or `[B, T·I]` with the steps side by side.
        """
        array = np.asarray(inputs)
        if array.ndim == 2 and array.shape[1] % self.input_dim == 0:
            array = array.reshape(len(array), -1, self.input_dim)
        return self.states(array)[:, -1]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))
