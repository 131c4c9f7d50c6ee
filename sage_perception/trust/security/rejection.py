# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reasons why an LCT is rejected, and the checks that need no key."""

from __future__ import annotations

import enum
import math

import numpy as np

from sage_perception.core.latent import UNKNOWN_FINGERPRINT, Latent
from sage_perception.core.lct import LCT, NO_PARENT, Operation, chain_trust


class RejectionReason(str, enum.Enum):
    """Why an LCT is not accepted."""

    MALFORMED = 'malformed'
    OVERSIZED = 'oversized'
    NO_ENTITY = 'no entity'
    NO_STAMP = 'no stamp'
    STAMP = 'stamp outside tolerance'
    NOT_FINITE = 'not finite'
    OUT_OF_RANGE = 'out of range'
    UNKNOWN_MODEL = 'unknown model'
    WRONG_MODEL = 'wrong fingerprint'
    DIMENSION = 'wrong dimension'
    BROKEN_CHAIN = 'broken chain'
    SEQUENCE = 'replayed or old sequence'
    UNKNOWN_KEY = 'unknown key'
    REVOKED_KEY = 'revoked key'
    UNSIGNED = 'unsigned'
    BAD_SIGNATURE = 'bad signature'
    UNPROVEN = 'step without proof'
    BAD_PROOF = 'bad proof of a step'
    UNKNOWN_STEP = 'step of an unknown entity'
    WRONG_ENTITY = 'not the entity of this topic'
    OTHER_PROBES = 'other probe images'
    NOT_MEASURED = 'latents not measured'
    INCOMPATIBLE = 'incompatible latents'
    FLOOD = 'flood'


# Latents of a trained model stay within some tens of standard deviations.
MAX_ABS = 1e4
# Steps of provenance: `sage_msgs/LCT` holds 16, and who translates and fuses adds two or more.
MAX_STEPS = 16
MAX_CHAIN = 14
# The bounds of the messages.
MAX_DIMENSIONS = 4096
MAX_ENERGIES = 256
MAX_TEXT_BYTES = 64  # bytes


def find_fault(lct: LCT, dim: int | None = None) -> RejectionReason | None:
    """Return why `lct` is not well formed, or None when it is.

    `dim` is the number of dimensions of its model's latents, where that is known.
    """
    return find_metadata_fault(lct) or find_number_fault(lct.latent, dim)


def find_metadata_fault(lct: LCT) -> RejectionReason | None:
    """Return what is wrong with `lct`, its latent's numbers left aside, or None."""
    telemetry = lct.latent.telemetry
    if not lct.entity_id:
        return RejectionReason.NO_ENTITY
    if lct.stamp_ns <= 0:
        return RejectionReason.NO_STAMP
    if len(lct.entity_id) > MAX_TEXT_BYTES or len(telemetry.energy_trajectory) > MAX_ENERGIES:
        return RejectionReason.OVERSIZED
    if len(lct.provenance) > MAX_CHAIN:
        return RejectionReason.OUT_OF_RANGE
    trusts = (lct.trust, telemetry.trust, *(step.trust for step in lct.provenance))
    if not all(0 <= trust <= 1 for trust in trusts):
        return RejectionReason.OUT_OF_RANGE
    if not math.isfinite(telemetry.latent_norm + telemetry.time_s + telemetry.budget_spent):
        return RejectionReason.NOT_FINITE
    # NaN says that these were not measured.
    if math.isinf(telemetry.reconstruction_error) or math.isinf(telemetry.kl_per_dim):
        return RejectionReason.NOT_FINITE
    if lct.latent.model.fingerprint == UNKNOWN_FINGERPRINT:
        return RejectionReason.UNKNOWN_MODEL
    if abs(lct.trust - chain_trust(lct.provenance)) > 1e-3:
        return RejectionReason.BROKEN_CHAIN
    return None


def find_number_fault(latent: Latent, dim: int | None = None) -> RejectionReason | None:
    """Return what is wrong with the numbers of `latent`, or None; `dim` as for `find_fault`."""
    if latent.dim > MAX_DIMENSIONS:
        return RejectionReason.OVERSIZED
    if not latent.dim or latent.dim != (dim or latent.dim):
        return RejectionReason.DIMENSION
    for numbers in (latent.mean, latent.log_var):
        if numbers is None:
            continue
        largest = float(np.abs(numbers).max())
        if not math.isfinite(largest):
            return RejectionReason.NOT_FINITE
        if largest > MAX_ABS:
            return RejectionReason.OUT_OF_RANGE
    return None


def find_break(lct: LCT) -> RejectionReason | None:
    """Return `BROKEN_CHAIN` when the provenance of `lct` does not hang together, or None.

    It begins with one ENCODE, of no parent; each later step names another LCT that it started
    from; the last is the speaker's own; and the last model named is that of the latent.
    """
    steps = lct.provenance
    whole = (
        steps
        and steps[-1].entity_id == lct.entity_id
        and (steps[0].operation, steps[0].parent_id) == (Operation.ENCODE, NO_PARENT)
        and not any(step.operation in (Operation.UNKNOWN, Operation.ENCODE) for step in steps[1:])
    )
    if not whole:
        return RejectionReason.BROKEN_CHAIN
    parents = {step.parent_id for step in steps}
    if len(parents) < len(steps) or lct.id in parents:
        return RejectionReason.BROKEN_CHAIN
    models = [step.model.fingerprint for step in steps]
    named = [fingerprint for fingerprint in models if fingerprint != UNKNOWN_FINGERPRINT]
    if not named or named[-1] != lct.latent.model.fingerprint:
        return RejectionReason.BROKEN_CHAIN
    return None
