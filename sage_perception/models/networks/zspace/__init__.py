# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The trained parts of Z-space in torch; `sage_perception.zspace` has their forward passes."""

from sage_perception.models.networks.zspace.alignment import AlignmentGamma
from sage_perception.models.networks.zspace.decoder import VolumeDecoder
from sage_perception.models.networks.zspace.losses import (
    diffusion_consistency_loss,
    slice_agreement_loss,
    temporal_smoothness_loss,
)
from sage_perception.models.networks.zspace.profile import ProfileNetwork
from sage_perception.models.networks.zspace.spiral_rnn import SpiralRnn
from sage_perception.models.networks.zspace.super_resolution import SliceNetwork

__all__ = [
    'AlignmentGamma',
    'ProfileNetwork',
    'SliceNetwork',
    'SpiralRnn',
    'VolumeDecoder',
    'diffusion_consistency_loss',
    'slice_agreement_loss',
    'temporal_smoothness_loss',
]
