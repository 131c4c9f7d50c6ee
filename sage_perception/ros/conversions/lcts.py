# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sage_msgs/LCT` and `LCT`."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from sage_msgs.msg import LCT as LCTMessage

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.lct import LCT
from sage_perception.ros.conversions.building import build
from sage_perception.ros.conversions.latents import (
    Packers,
    pack,
    packed_latent_from_msg,
    packed_latent_to_msg,
    unpack,
    wire_from_msg,
)
from sage_perception.ros.conversions.provenance import (
    membership_from_msg,
    memberships_to_msg,
    provenance_from_msg,
    provenance_to_msg,
)
from sage_perception.ros.conversions.stamps import normal_stamp_from_msg, stamp_to_msg
from sage_perception.trust.security.canonical import Wire, latent_digest, version_of
from sage_perception.trust.security.signing import sign

if TYPE_CHECKING:  # not needed without a key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


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
    wire = pack(lct.latent, encoding, packer)
    return packed_lct_to_msg(sign(lct, key, wire) if key is not None else lct, wire)


def packed_lct_to_msg(lct: LCT, wire: Wire) -> LCTMessage:
    """Return an LCT with its signature as a message, its latent in the wire encoding `wire`.

    Raises:
        ValueError: a field of the message cannot represent a value.
    """
    return build(
        LCTMessage,
        id=np.frombuffer(lct.id, np.uint8),
        entity_id=lct.entity_id,
        sequence=lct.sequence,
        stamp=stamp_to_msg(lct.stamp_ns),
        latent=packed_latent_to_msg(lct.latent, wire),
        trust=lct.trust,
        provenance=[provenance_to_msg(step) for step in lct.provenance],
        signature=array('B', lct.signature),
        membership=memberships_to_msg(lct.membership),
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
    wire = wire_from_msg(message.latent)
    provenance = tuple(provenance_from_msg(step) for step in message.provenance)
    trust = provenance[0].trust if provenance else message.trust
    latent = packed_latent_from_msg(message.latent, trust)
    membership = membership_from_msg(message.membership)
    lct = LCT(
        entity_id=message.entity_id,
        sequence=message.sequence,
        stamp_ns=normal_stamp_from_msg(message.stamp),
        latent=latent,
        provenance=provenance,
        trust=message.trust,
        id=bytes(message.id),
        signature=bytes(message.signature),
        membership=membership,
        index=membership.index if membership else 0,
    )
    if lct.signature:
        lct = replace(lct, digest=latent_digest(latent, wire, version_of(lct)))
    return lct, wire
