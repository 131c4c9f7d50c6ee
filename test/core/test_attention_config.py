# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The settings of attention: descriptions and validation."""

import dataclasses
import math

import pytest

from sage_perception.vision.attention_config import AttentionConfig


def test_every_field_has_a_description():
    for field in dataclasses.fields(AttentionConfig):
        assert field.metadata['description']


@pytest.mark.parametrize(
    ('name', 'value', 'named'),
    [
        ('crop_size', 4, r'crop_size is 4; .* in \[8, 512\]'),
        ('crop_size', 64.0, 'crop_size is 64.0'),
        ('max_crops', 0, r'max_crops is 0; .*\[1, 24\]'),
        ('max_crops', True, 'max_crops is True'),
        ('color', 'bgr', "color is 'bgr'; .*rgb, gray"),
        ('threshold', 1.0, r'threshold is 1.0; .*\[2.*, 50.*\]'),
        ('threshold', math.nan, 'threshold is nan'),
        ('background_time_s', '3', "background_time_s is '3'"),
        ('saliency_weight', 1.5, r'saliency_weight is 1.5; .*in \[0.*, 1.*\]'),
        ('inhibition', -0.1, 'inhibition is -0.1'),
        ('min_roi_px', 500, 'min_roi_px is 500; it must not exceed max_roi_px, 480'),
    ],
)
def test_error_names_value_and_allowed_range(name, value, named):
    with pytest.raises(ValueError, match=named):
        AttentionConfig(**{name: value})
