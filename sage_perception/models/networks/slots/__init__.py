# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny Slot-BERT: objects without labels (specification 003, `docs/slots.md`).

An encoder turns an image into tokens, Slot Attention divides the tokens among K slots, and a
broadcast decoder composes the image from the slots again. Trained to reconstruct images, each
slot comes to hold one object.
"""

from sage_perception.models.networks.slots.config import SlotsConfig
from sage_perception.models.networks.slots.decoder import Decoded
from sage_perception.models.networks.slots.model import SlotModel, SlotsOutput, segment
from sage_perception.models.networks.slots.temporal import SequenceConfig, TemporalTransformer

__all__ = [
    'Decoded',
    'SequenceConfig',
    'SlotModel',
    'SlotsConfig',
    'SlotsOutput',
    'TemporalTransformer',
    'segment',
]
