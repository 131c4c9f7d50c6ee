# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Random changes of log-mel spectrograms: tempo, pitch, timbre, noise, reverberation, gaps.

All are computed on whole batches of spectrograms, which is far faster than on waveforms.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv1d, grid_sample, pad

from sage_perception.audio.mel import RANGE_DB

TEMPO, PITCH = (0.75, 1.35), (0.86, 1.16)
"""Factors of the time and the frequency (in mel)."""
SHIFT_TIME, SHIFT_PITCH = 0.3, 0.08
"""Largest shifts, half windows."""
TILT, CONTRAST = 0.2, (0.8, 1.3)
"""Largest slope over all bands, and factors of the dynamic range."""
NOISE_SHARE, MAX_NOISE, JITTER = 0.75, 0.65, 0.08
"""Share of noisy items, largest level of the noise, deviation of its bins."""
REVERB_SHARE, MAX_DECAY = 0.4, 12.0
"""Share of reverberant items, and largest time constant, frames."""
MASK_BANDS, MASK_FRAMES = 6, 12
"""Largest gaps (SpecAugment: Park et al., 2019)."""


class Augmented(NamedTuple):
    """Changed spectrograms `[B, 1, bands, frames]`: the input, and what to reconstruct.

    The target has the noise and the reverberation, but neither their random bins nor the gaps.
    """

    input: Tensor
    target: Tensor


def augment(x: Tensor, generator: torch.Generator) -> Augmented:
    """Return changed copies of spectrograms, float `[B, 1, bands, frames]` in [0, 1]."""
    x = _warp(x, generator)
    x = _color(x, generator)
    x = _reverberate(x, generator)
    target, noisy = _add_noise(x, generator)
    return Augmented(_mask(noisy, generator), target)


def _uniform(x: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Return one number per item, `[B, 1, 1, 1]`."""
    return low + (high - low) * torch.rand(len(x), 1, 1, 1, generator=generator)


def _warp(x: Tensor, generator: torch.Generator) -> Tensor:
    tempo, pitch = _uniform(x, *TEMPO, generator), _uniform(x, *PITCH, generator)
    theta = torch.zeros(len(x), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = tempo.flatten(), pitch.flatten()
    theta[:, 0, 2] = _uniform(x, -SHIFT_TIME, SHIFT_TIME, generator).flatten()
    # Around the lowest band, so that a longer vocal tract scales all formants.
    shift = _uniform(x, -SHIFT_PITCH, SHIFT_PITCH, generator).flatten()
    theta[:, 1, 2] = theta[:, 1, 1] - 1 + shift
    return grid_sample(
        x, affine_grid(theta, list(x.shape), align_corners=False), align_corners=False
    )


def _color(x: Tensor, generator: torch.Generator) -> Tensor:
    slope = torch.linspace(-0.5, 0.5, x.shape[2])[None, None, :, None]
    tilted = x + _uniform(x, -TILT, TILT, generator) * slope
    changed = 1 - (1 - tilted) * _uniform(x, *CONTRAST, generator)
    return torch.where(x > 0, changed.clamp(0, 1), x)


def _reverberate(x: Tensor, generator: torch.Generator) -> Tensor:
    decay = _uniform(x, 1, MAX_DECAY, generator)
    wet = (torch.rand(len(x), generator=generator) < REVERB_SHARE).float()[:, None, None, None]
    strength = wet * _uniform(x, 0.02, 0.3, generator)
    times = torch.arange(1, x.shape[3] // 2)
    kernel = strength * torch.exp(-times / decay)
    kernel = torch.cat((torch.ones_like(kernel[..., :1]), kernel), 3)
    power = to_power(x)
    folded = pad(power, (kernel.shape[3] - 1, 0)).transpose(0, 1).flatten(0, 1)
    batch, _, bands, frames = x.shape
    weight = kernel.flip(3).flatten(0, 2).repeat_interleave(bands, 0)[:, None]
    found = conv1d(folded.reshape(1, batch * bands, -1), weight, groups=batch * bands)
    return torch.where(wet > 0, to_level(found.reshape(batch, 1, bands, frames)), x)


def _add_noise(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the spectrograms with smooth noise, and with its random bins too."""
    chosen = (torch.rand(len(x), generator=generator) < NOISE_SHARE)[:, None, None, None]
    slope = torch.linspace(-0.5, 0.5, x.shape[2])[None, None, :, None]
    level = _uniform(x, 0, MAX_NOISE, generator) + _uniform(x, -0.3, 0.3, generator) * slope
    bins = torch.randn(x.shape, generator=generator) * JITTER
    smooth, rough = (to_level(to_power(x) + to_power(part)) for part in (level, level + bins))
    smooth, rough = torch.where(chosen, smooth, x), torch.where(chosen, rough, x)
    return renormalize(smooth), renormalize(rough)


def _mask(x: Tensor, generator: torch.Generator) -> Tensor:
    x = x.clone()
    for axis, largest in ((2, MASK_BANDS), (3, MASK_FRAMES)):
        size = x.shape[axis]
        width = _uniform(x, 0, largest, generator)
        start = _uniform(x, 0, 1, generator) * (size - width)
        places = torch.arange(size).view([1, 1, -1, 1] if axis == 2 else [1, 1, 1, -1])
        gap = (places >= start) & (places < start + width)
        x = torch.where(gap, x.amin((2, 3), keepdim=True), x)
    return x


def to_power(level: Tensor) -> Tensor:
    """Return the power of levels in [0, 1], relative to the loudest; 0 stays 0."""
    power = torch.pow(10, (level - 1) * RANGE_DB / 10)
    return torch.where(level > 0, power, torch.zeros_like(power))


def to_level(power: Tensor) -> Tensor:
    """Return the level of powers: 1 for 1, 0 for `RANGE_DB` below it and less."""
    return (1 + 10 / RANGE_DB * torch.log10(power.clamp_min(1e-12))).clamp_min(0)


def renormalize(level: Tensor) -> Tensor:
    """Return levels whose loudest value is 1, as `audio.mel.log_mel` returns them."""
    peak = level.amax((2, 3), keepdim=True)
    return torch.where(peak > 0, (level + 1 - peak).clamp(0, 1), level)
