# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sage_msgs/Provenance` and `sage_msgs/Proof` and their values."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from sage_msgs.msg import Membership as MembershipMessage
from sage_msgs.msg import Proof as ProofMessage
from sage_msgs.msg import Provenance as ProvenanceMessage

from sage_perception.core.lct import Membership, Operation, Proof, Provenance
from sage_perception.ros.conversions.building import build
from sage_perception.ros.conversions.model_ids import model_id_from_msg, model_id_to_msg
from sage_perception.ros.conversions.stamps import normal_stamp_from_msg, stamp_to_msg
from sage_perception.trust.security.limits import DIGEST_BYTES


def provenance_to_msg(step: Provenance) -> ProvenanceMessage:
    """Return one step of a provenance as a message."""
    return build(
        ProvenanceMessage,
        operation=int(step.operation),
        entity_id=step.entity_id,
        model=model_id_to_msg(step.model),
        parent_id=np.frombuffer(step.parent_id, np.uint8),
        trust=step.trust,
        proof=[proof_to_msg(step.proof)] if step.proof else [],
    )


def provenance_from_msg(message: ProvenanceMessage) -> Provenance:
    """Return one step of a provenance.

    Raises:
        ValueError: `operation` is not a value of `Operation`, or the proof is malformed.
    """
    return Provenance(
        Operation(message.operation),
        message.entity_id,
        model_id_from_msg(message.model),
        bytes(message.parent_id),
        message.trust,
        proof_from_msg(message.proof[0]) if message.proof else None,
    )


def proof_to_msg(proof: Proof) -> ProofMessage:
    """Return the proof of a step as a message."""
    return build(
        ProofMessage,
        sequence=proof.sequence,
        stamp=stamp_to_msg(proof.stamp_ns),
        trust=proof.trust,
        latent=np.frombuffer(proof.latent, np.uint8),
        signature=array('B', proof.signature),
        membership=memberships_to_msg(proof.membership),
    )


def proof_from_msg(message: ProofMessage) -> Proof:
    """Return the proof of a step.

    Raises:
        ValueError: its stamp is malformed.
    """
    return Proof(
        message.sequence,
        normal_stamp_from_msg(message.stamp),
        message.trust,
        bytes(message.latent),
        bytes(message.signature),
        membership_from_msg(message.membership),
    )


def memberships_to_msg(membership: Membership | None) -> list[MembershipMessage]:
    """Return the place of an LCT in its array as a list with one message; empty for None."""
    if membership is None:
        return []
    return [
        build(
            MembershipMessage,
            index=membership.index,
            count=membership.count,
            frame=np.frombuffer(membership.frame, np.uint8),
            path=array('B', b''.join(membership.path)),
        )
    ]


def membership_from_msg(messages: Sequence[MembershipMessage]) -> Membership | None:
    """Return the place of an LCT in its array; None for an empty list.

    Raises:
        ValueError: `path` is not a number of digests.
    """
    if not messages:
        return None
    [message] = messages
    path = bytes(message.path)
    if len(path) % DIGEST_BYTES:
        raise ValueError(f'path has {len(path)} bytes, which are not digests of {DIGEST_BYTES}')
    digests = (path[i : i + DIGEST_BYTES] for i in range(0, len(path), DIGEST_BYTES))
    return Membership(message.index, message.count, bytes(message.frame), tuple(digests))
