# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sage_msgs/LCT` and `LCT`."""

from __future__ import annotations

from array import array
from dataclasses import replace

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sage_msgs.msg import LCT as LCTMessage

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.lct import LCT
from sage_perception.ros.conversions.latents import (
    Packers,
    latent_to_msg,
    packed_latent_from_msg,
    unpack,
    wire_from_msg,
)
from sage_perception.ros.conversions.provenance import provenance_from_msg, provenance_to_msg
from sage_perception.ros.conversions.stamps import normal_stamp_from_msg, stamp_to_msg
from sage_perception.trust.security.canonical import Wire, latent_digest
from sage_perception.trust.security.signing import sign


def lct_to_msg(
    lct: LCT,
    encoding: Encoding = Encoding.FLOAT32,
    packer: Packer | None = None,
    key: Ed25519PrivateKey | None = None,
) -> LCTMessage:
    """Return an LCT as a message.

    Args:
        lct: the LCT.
        encoding: the wire encoding of its latent; see `latent_to_msg`.
        packer: the packer of the latent's model; FLOAT32 needs none.
        key: the key to sign with, for this encoding; None keeps the signature of `lct`.

    Raises:
        ValueError: the encoding, or a field of the message, cannot represent a value.
    """
    latent = latent_to_msg(lct.latent, encoding, packer)
    if key is not None:
        lct = sign(lct, key, wire_from_msg(latent))
    return LCTMessage(
        id=np.frombuffer(lct.id, np.uint8),
        entity_id=lct.entity_id,
        sequence=lct.sequence,
        stamp=stamp_to_msg(lct.stamp_ns),
        latent=latent,
        trust=lct.trust,
        provenance=[provenance_to_msg(step) for step in lct.provenance],
        signature=array('B', lct.signature),
    )


def lct_from_msg(message: LCTMessage, packers: Packers | None = None) -> LCT:
    """Return the LCT of a message, its latent unpacked.

    Raises:
        UnknownModel: the latent is packed, and `packers` has no packer for its model.
        ValueError: the fields do not form an LCT.
    """
    lct, wire = packed_lct_from_msg(message)
    return replace(lct, latent=unpack(lct.latent, wire, packers or {}))


def packed_lct_from_msg(message: LCTMessage) -> tuple[LCT, Wire]:
    """Return the LCT of a message as it was signed, and the wire encoding of its latent.

    The signature covers the payload of a packed latent, so that `latent.mean` is left empty;
    `unpack` decodes it.

    Raises:
        ValueError: the fields do not form an LCT.
    """
    if message.latent.snarc:
        raise ValueError('latent.snarc is given: no signature covers it; it must be empty')
    wire = wire_from_msg(message.latent)
    latent = packed_latent_from_msg(message.latent)
    lct = LCT(
        entity_id=message.entity_id,
        sequence=message.sequence,
        stamp_ns=normal_stamp_from_msg(message.stamp),
        latent=latent,
        provenance=tuple(provenance_from_msg(step) for step in message.provenance),
        trust=message.trust,
        id=bytes(message.id),
        signature=bytes(message.signature),
        digest=latent_digest(latent, wire) if message.signature else b'',
    )
    return lct, wire
