# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Z-space: volumes of maps, their projection with weights, and the fusion of views.

Specification 004. Formulas and limits are in docs/zspace.md.
"""

from sage_perception.zspace.calibration import moved_view, view_from_camera
from sage_perception.zspace.checks import ZSpaceError
from sage_perception.zspace.decoder import ZDecoder
from sage_perception.zspace.diffusion import ZDiffuser
from sage_perception.zspace.divergence import map_divergence
from sage_perception.zspace.generator import ResonanceGenerator
from sage_perception.zspace.heads import MapClassifier, Peak, find_peaks
from sage_perception.zspace.interpolation import InterpolationMethod
from sage_perception.zspace.losses import (
    diffusion_consistency_loss,
    slice_agreement_loss,
    temporal_smoothness_loss,
)
from sage_perception.zspace.profile_predictor import ProfilePredictor
from sage_perception.zspace.projector import VisionProjector
from sage_perception.zspace.resonance import DifferentialResonance
from sage_perception.zspace.spiral_rnn import SpiralRnn
from sage_perception.zspace.super_resolution import ZSuperResolution
from sage_perception.zspace.telemetry import AtlasFrame, ChronoSummary
from sage_perception.zspace.temporal import TemporalResonanceBuffer, TemporalStack
from sage_perception.zspace.video_stream import Projected, VideoStreamProjector
from sage_perception.zspace.views import MultiViewFusion, ViewDescriptor
from sage_perception.zspace.volume import SliceProfile, ZSpaceVolume
from sage_perception.zspace.windows import SpectralWindow

__all__ = [
    'AtlasFrame',
    'ChronoSummary',
    'DifferentialResonance',
    'InterpolationMethod',
    'MapClassifier',
    'MultiViewFusion',
    'Peak',
    'ProfilePredictor',
    'Projected',
    'ResonanceGenerator',
    'SliceProfile',
    'SpectralWindow',
    'SpiralRnn',
    'TemporalResonanceBuffer',
    'TemporalStack',
    'VideoStreamProjector',
    'ViewDescriptor',
    'VisionProjector',
    'ZDecoder',
    'ZDiffuser',
    'ZSpaceError',
    'ZSpaceVolume',
    'ZSuperResolution',
    'diffusion_consistency_loss',
    'find_peaks',
    'map_divergence',
    'moved_view',
    'slice_agreement_loss',
    'temporal_smoothness_loss',
    'view_from_camera',
]
