# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration of the models of sound, family `audio`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sage_perception.audio.mel import BANDS, FRAMES
from sage_perception.audio.words import LABELS
from sage_perception.core.settings import Interval, PositiveInt, check

STRIDE = 8
"""Bands and frames of a spectrogram per position of the smallest map."""


@dataclass(frozen=True)
class AudioConfig:
    """How a model of sound is built.

    Attributes
    ----------
    bands, frames : int
        Size of a spectrogram.
    latent_dim : int
        D, the dimensions of a latent (specification 002 has 128).
    channels : tuple of int
        Channels of the maps of the encoder at a half, a quarter and an eighth of the resolution.
    code_channels : int
        Channels of the smallest map, from which the latent is computed.
    dropout : float
        Share of the features that is dropped in training.
    labels : tuple of str
        The words that the label head recognizes; the last one stands for all others.

    """

    bands: PositiveInt = BANDS
    frames: PositiveInt = FRAMES
    latent_dim: Annotated[int, Interval(8, 512)] = 128
    channels: tuple[PositiveInt, ...] = (24, 40, 64)
    code_channels: PositiveInt = 32
    dropout: Annotated[float, Interval(0, 0.9)] = 0.2
    labels: tuple[str, ...] = LABELS

    def __post_init__(self) -> None:
        check(self)
        for name, value in (('bands', self.bands), ('frames', self.frames)):
            if value % STRIDE:
                raise ValueError(f'{name} is {value}; it must be a multiple of {STRIDE}')
        if len(self.channels) != 3:
            raise ValueError(f'channels has {len(self.channels)} numbers; it must have 3')
        if len(self.labels) < 2:
            raise ValueError(f'labels has {len(self.labels)} words; it must have at least 2')

    @property
    def grid(self) -> tuple[int, int]:
        """Return the size of the smallest map."""
        return self.bands // STRIDE, self.frames // STRIDE
