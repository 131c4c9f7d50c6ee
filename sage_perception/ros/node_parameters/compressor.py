# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the compressor node."""

from __future__ import annotations

from sage_perception.ros.common_parameters import (
    AUTOSTART,
    CAMERA_ENTITIES,
    CAMERAS,
    rate,
)
from sage_perception.ros.identity import (
    ARBITER_ENTITY,
    KEY,
    KEYS,
    MEMORY_ENTITY,
    OPERATORS,
    REQUIRE_SIGNATURES,
)
from sage_perception.ros.parameters import Parameter

COMPRESSOR = (
    AUTOSTART,
    CAMERAS,
    CAMERA_ENTITIES,
    Parameter(
        'model',
        'h_to_l_hybrid',
        'Name of a compressor that ships with sage, or folder of an artifact.',
        read_only=True,
    ),
    Parameter(
        'backend',
        'auto',
        'Inference backend; auto: ONNX Runtime if it is installed.',
        choices=('auto', 'torch', 'onnxruntime'),
        read_only=True,
    ),
    rate(
        5.0,
        'Maximum rate of contexts, Hz; without new frames no context is published.',
        maximum=30.0,
    ),
    Parameter(
        'window_s',
        2.0,
        'Duration of the observations in a context, seconds.',
        minimum=0.2,
        maximum=30.0,
        read_only=True,
    ),
    Parameter(
        'slot_model',
        '',
        'Model of the slots node, such as slots: the slots of the primary camera fill the object '
        'slots of the context. Empty: they are masked, as in the training of the shipped models.',
        read_only=True,
    ),
    REQUIRE_SIGNATURES,
    OPERATORS,
    ARBITER_ENTITY,
    MEMORY_ENTITY,
    KEYS,
    KEY,
)
