# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the attention node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from sage_perception.ros.common_parameters import (
    ENTITY_ID,
    FIRST_TRACK_ID,
    IMAGE_TRANSPORT,
    MAX_AGE,
    threads,
)
from sage_perception.ros.identity import (
    KEY,
    KEYS,
    OPERATORS,
    REQUIRE_SIGNATURES,
    UNSIGNED_IMAGES,
)
from sage_perception.ros.parameters import Parameter, parameters_of
from sage_perception.vision.attention_config import AttentionConfig

ATTENTION = (
    *parameters_of(AttentionConfig),
    IMAGE_TRANSPORT,
    MAX_AGE,
    FIRST_TRACK_ID,
    Parameter(
        'max_detections',
        16,
        'Maximum number of boxes on the topic detections that get crops, those with the highest '
        'scores; 0: the topic is not subscribed.',
        minimum=0,
        maximum=100,
        read_only=True,
    ),
    Parameter(
        'use_slots',
        False,
        'Subscribe to the object slots of the slots node: they get crops of the source SLOTS, and '
        'raise the scores of moving objects that are slots, too. Set by use_slots:=true of the '
        'launch files and by sage up --slots.',
        read_only=True,
    ),
    threads('OpenCV'),
    replace(ENTITY_ID, description='Entity that signs the crops; empty: the namespace.'),
    replace(
        KEY,
        description='Secret key of the entity, that of the encoder, which signs the crops: the '
        'file, or the folder that contains it; empty: crops are not signed.',
    ),
    replace(
        REQUIRE_SIGNATURES,
        description='Use only images of nodes in the same process, and images that are signed '
        'with the key of this node: set the parameter `key` of the camera too. Refuse changes of '
        'parameters that no operator has signed.',
    ),
    replace(
        UNSIGNED_IMAGES,
        description='Use unsigned images with require_signatures, too, such as those of a driver. '
        'What is signed then begins at this node: anyone on the network can publish images.',
    ),
    OPERATORS,
    KEYS,
)


def attention_config(values: Mapping[str, Any]) -> AttentionConfig:
    """Return the settings of attention among the parameters of its node.

    Raises:
        ValueError: the settings are not valid in combination.
    """
    return AttentionConfig(**{field.name: values[field.name] for field in fields(AttentionConfig)})
