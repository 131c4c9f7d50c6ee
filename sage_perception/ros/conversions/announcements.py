# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions of announcements: `sage_msgs/ModelInfo` and `sage_msgs/ProbeSet`."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Time
from sage_msgs.msg import ModelInfo
from sage_msgs.msg import ProbeSet as ProbeSetMessage
from std_msgs.msg import Header

from sage_perception.core.latent import ModelId
from sage_perception.models import Codec
from sage_perception.models.slot_encoder import SlotEncoder
from sage_perception.ros.conversions.arrays import floats_to_msg
from sage_perception.ros.conversions.model_ids import model_id_from_msg, model_id_to_msg
from sage_perception.trust.security.announcements import (
    ModelAnnouncement,
    ProbeAnswer,
    ProbeSet,
    sign_announcement,
)
from sage_perception.trust.security.identity import Identity

if TYPE_CHECKING:  # not needed without a key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def model_info_to_msg(
    codec: Codec | SlotEncoder,
    stamp: Time,
    entity_id: str = '',
    sequence: int = 0,
    key: Ed25519PrivateKey | None = None,
) -> ModelInfo:
    """Return the announcement of a loaded model as a message.

    Args:
        codec: the model.
        stamp: when it was loaded.
        entity_id: the entity that announces it.
        sequence: number of the announcement, increasing for each entity.
        key: the key to sign with; None leaves the message unsigned.
    """
    announcement = ModelAnnouncement(
        entity_id,
        sequence,
        codec.id,
        np.asarray(codec.latent_mean, np.float32).ravel(),
        np.asarray(codec.latent_std, np.float32).ravel(),
    )
    if key is not None:
        announcement = sign_announcement(announcement, key)
    return ModelInfo(
        header=Header(stamp=stamp),
        model=model_id_to_msg(codec.id),
        latent_dim=codec.latent_dim,
        input_width=codec.input_size,
        input_height=codec.input_size,
        input_encoding='rgb8' if codec.input_channels == 3 else 'mono8',
        input_mean=array('f', [0.0] * codec.input_channels),
        input_std=array('f', [1.0] * codec.input_channels),
        backend=codec.backend,
        precision=codec.precision,
        device=codec.device,
        latent_mean=floats_to_msg(announcement.mean),
        latent_std=floats_to_msg(announcement.std),
        card=codec.card,
        entity_id=announcement.entity_id,
        sequence=announcement.sequence,
        signature=array('B', announcement.signature),
    )


def code_model_info_to_msg(
    model: ModelId, spaces: Mapping[str, bytes], stamp: Time, identity: Identity
) -> ModelInfo:
    """Return the announcement of a model of codes, signed over the same form as other models.

    Codes have no statistics: their mean is 0 and their standard deviation 1, and they compare by
    the cosine. `latent_mean` and `latent_std` are therefore empty, and signed as empty.

    Args:
        model: the model.
        spaces: the fingerprints of the spaces of its codes, by kind; the card lists them.
        stamp: when it was loaded.
        identity: the entity that announces it.
    """
    nothing = np.empty(0, np.float32)
    announcement = ModelAnnouncement(
        identity.entity_id, identity.next_sequence(), model, nothing, nothing
    )
    announcement = sign_announcement(announcement, identity.key)
    return ModelInfo(
        header=Header(stamp=stamp),
        model=model_id_to_msg(model),
        card='\n'.join(f'- {kind}: {space.hex()}' for kind, space in spaces.items()),
        entity_id=announcement.entity_id,
        sequence=announcement.sequence,
        signature=array('B', announcement.signature),
    )


def model_info_from_msg(message: ModelInfo) -> ModelAnnouncement:
    """Return the announcement of a model.

    Raises:
        ValueError: `latent_mean` does not have `latent_dim` elements.
    """
    announcement = ModelAnnouncement(
        message.entity_id,
        message.sequence,
        model_id_from_msg(message.model),
        np.array(message.latent_mean, np.float32),
        np.array(message.latent_std, np.float32),
        bytes(message.signature),
    )
    if announcement.dim != message.latent_dim:
        raise ValueError(
            f'latent_mean has {announcement.dim} elements, but latent_dim is {message.latent_dim}'
        )
    return announcement


def probe_set_to_msg(
    probe_set: ProbeSet, stamp: Time, key: Ed25519PrivateKey | None = None
) -> ProbeSetMessage:
    """Return the probe latents of an entity as a message, signed if `key` is given."""
    if key is not None:
        probe_set = sign_announcement(probe_set, key)
    return _latents_to_msg(probe_set, probe_set.images, stamp)


def probe_answer_to_msg(
    answer: ProbeAnswer, stamp: Time, key: Ed25519PrivateKey | None = None
) -> ProbeSetMessage:
    """Return the answer to a challenge as a message, signed if `key` is given."""
    if key is not None:
        answer = sign_announcement(answer, key)
    return _latents_to_msg(answer, answer.nonce, stamp)


def _latents_to_msg(
    announcement: ProbeSet | ProbeAnswer, images: bytes, stamp: Time
) -> ProbeSetMessage:
    """Return the latents of images as a message; `images` is their SHA-256 or their nonce."""
    return ProbeSetMessage(
        header=Header(stamp=stamp),
        entity_id=announcement.entity_id,
        sequence=announcement.sequence,
        model=model_id_to_msg(announcement.model),
        probe_set=np.frombuffer(images, np.uint8),
        dim=announcement.latents.shape[1],
        latents=floats_to_msg(announcement.latents),
        signature=array('B', announcement.signature),
    )


def probe_answer_from_msg(message: ProbeSetMessage) -> ProbeAnswer:
    """Return the answer to a challenge.

    Raises:
        ValueError: the length of `latents` is not a multiple of `dim`.
    """
    same = probe_set_from_msg(message)
    return ProbeAnswer(
        same.entity_id, same.sequence, same.model, same.latents, same.images, same.signature
    )


def probe_set_from_msg(message: ProbeSetMessage) -> ProbeSet:
    """Return the probe latents of an entity.

    Raises:
        ValueError: the length of `latents` is not a multiple of `dim`.
    """
    latents = np.array(message.latents, np.float32)
    if not message.dim or latents.size % message.dim:
        raise ValueError(
            f'latents has {latents.size} elements, which is not a multiple of dim {message.dim}'
        )
    return ProbeSet(
        message.entity_id,
        message.sequence,
        model_id_from_msg(message.model),
        latents.reshape(-1, message.dim),
        bytes(message.probe_set),
        bytes(message.signature),
    )
