# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sage_msgs/ModelId` and `ModelId`."""

from __future__ import annotations

import numpy as np
from sage_msgs.msg import ModelId as ModelIdMessage

from sage_perception.core.latent import ModelId
from sage_perception.ros.conversions.building import build


def model_id_to_msg(model: ModelId) -> ModelIdMessage:
    """Return the identity of a model as a message."""
    return build(
        ModelIdMessage,
        name=model.name,
        version=model.version,
        fingerprint=np.frombuffer(model.fingerprint, np.uint8),
    )


def model_id_from_msg(message: ModelIdMessage) -> ModelId:
    """Return the identity of a model."""
    return ModelId(message.name, message.version, bytes(message.fingerprint))
