# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Feature maps of backbones as volumes of Z-space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sage_perception.zspace import ZSpaceVolume


def volume_of(
    features: Mapping[str, Tensor], stages: Sequence[str], size: tuple[int, int] | None = None
) -> ZSpaceVolume:
    """Return the activation maps of one image as a volume, one slice per stage.

    A slice is the root mean square over the channels of a stage, resampled bilinearly to `size`
    (height, width), by default that of the first stage, and divided by its maximum, so that no
    stage outweighs the others by its scale.

    Args:
        features: feature maps `[1, C, H, W]` by stage, as `features` of a backbone returns them.
        stages: the names of the stages, in the order of the slices.
        size: height and width of the slices.

    Raises:
        ValueError: there is no stage, a stage is unknown, or its maps are not those of one image.
    """
    if not stages:
        raise ValueError('a volume needs at least one stage')
    slices = []
    for name in stages:
        if name not in features:
            raise ValueError(f'stage {name!r} is unknown: use {", ".join(features)}')
        maps = features[name]
        if maps.ndim != 4 or len(maps) != 1:
            raise ValueError(f'{name} has the shape {tuple(maps.shape)}, not [1, C, H, W]')
        energy = maps.detach().float().square().mean(1, keepdim=True).sqrt()
        size = size or (energy.shape[2], energy.shape[3])
        resized = F.interpolate(energy, size, mode='bilinear', align_corners=False)[0, 0]
        slices.append((resized / torch.clamp(resized.max(), min=1e-12)).cpu().numpy())
    return ZSpaceVolume.from_slices(slices)
