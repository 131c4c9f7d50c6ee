# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sage_msgs/Provenance` and `sage_msgs/Proof` and their values."""

from __future__ import annotations

from array import array

import numpy as np
from sage_msgs.msg import Proof as ProofMessage
from sage_msgs.msg import Provenance as ProvenanceMessage

from sage_perception.core.lct import Operation, Proof, Provenance
from sage_perception.ros.conversions.model_ids import model_id_from_msg, model_id_to_msg
from sage_perception.ros.conversions.stamps import normal_stamp_from_msg, stamp_to_msg


def provenance_to_msg(step: Provenance) -> ProvenanceMessage:
    """Return one step of a provenance as a message."""
    return ProvenanceMessage(
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
    return ProofMessage(
        sequence=proof.sequence,
        stamp=stamp_to_msg(proof.stamp_ns),
        trust=proof.trust,
        latent=np.frombuffer(proof.latent, np.uint8),
        signature=array('B', proof.signature),
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
    )
