# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compact models: load one by name with `load`; each family of networks has its own module."""

from sage_perception.models.artifact import ModelError
from sage_perception.models.codec import Codec
from sage_perception.models.compressor import Compressor
from sage_perception.models.registry import (
    available,
    installed_name,
    load,
    load_audio,
    load_codec,
    load_codes,
    load_compressor,
    load_crop_codec,
    load_fusion,
    load_observation_model,
    load_semantic,
    load_slot_encoder,
)

__all__ = [
    'Codec',
    'Compressor',
    'ModelError',
    'available',
    'installed_name',
    'load',
    'load_audio',
    'load_codec',
    'load_codes',
    'load_compressor',
    'load_crop_codec',
    'load_fusion',
    'load_observation_model',
    'load_semantic',
    'load_slot_encoder',
]
