# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The checks of an LCT's fields; none needs a key.

Each function returns the rejection reason, or None for a valid LCT.
"""

from __future__ import annotations

import math

import numpy as np

from sage_perception.core.latent import UNKNOWN_FINGERPRINT, Latent
from sage_perception.core.lct import LCT, NO_PARENT, Operation, chain_trust
from sage_perception.trust.security.entity import is_entity
from sage_perception.trust.security.limits import (
    MAX_ABS,
    MAX_CHAIN,
    MAX_DIMENSIONS,
    MAX_ENERGIES,
    MAX_TEXT_BYTES,
)
from sage_perception.trust.security.rejection import RejectionReason

TRUST_TOLERANCE = 1e-3  # between the trust of an LCT and the product of its steps, for float32


def find_fault(lct: LCT, dim: int | None = None) -> RejectionReason | None:
    """Check all fields of `lct`; `dim` is the number of dimensions of its model's latents."""
    return find_metadata_fault(lct) or find_latent_fault(lct.latent, dim)


def find_metadata_fault(lct: LCT) -> RejectionReason | None:
    """Check all fields of `lct` except the elements of its latent."""
    telemetry = lct.latent.telemetry
    if not lct.entity_id:
        return RejectionReason.NO_ENTITY
    if not _are_entities(lct):
        return RejectionReason.BAD_ENTITY
    if lct.stamp_ns <= 0:
        return RejectionReason.NO_STAMP
    if len(lct.entity_id) > MAX_TEXT_BYTES or len(telemetry.energy_trajectory) > MAX_ENERGIES:
        return RejectionReason.OVERSIZED
    if len(lct.provenance) > MAX_CHAIN:
        return RejectionReason.OUT_OF_RANGE
    trusts = (lct.trust, telemetry.trust, *(step.trust for step in lct.provenance))
    if not all(0 <= value <= 1 for value in (*trusts, *(lct.latent.snarc or ()))):
        return RejectionReason.OUT_OF_RANGE
    if not math.isfinite(telemetry.latent_norm + telemetry.time_s + telemetry.budget_spent):
        return RejectionReason.NOT_FINITE
    # NaN stands for "not measured" in these two.
    if math.isinf(telemetry.reconstruction_error) or math.isinf(telemetry.kl_per_dim):
        return RejectionReason.NOT_FINITE
    if lct.latent.model.fingerprint == UNKNOWN_FINGERPRINT:
        return RejectionReason.UNKNOWN_MODEL
    if abs(lct.trust - chain_trust(lct.provenance)) > TRUST_TOLERANCE:
        return RejectionReason.BROKEN_CHAIN
    return None


def _are_entities(lct: LCT) -> bool:
    """Return whether the ids of an LCT and of its steps are entity ids, or too long for one."""
    texts = (lct.entity_id, *(step.entity_id for step in lct.provenance))
    return all(is_entity(text) or len(text.encode()) > MAX_TEXT_BYTES for text in texts)


def find_latent_fault(latent: Latent, dim: int | None = None) -> RejectionReason | None:
    """Check the elements of `latent`: their number, `dim` if given, and their values."""
    if latent.dim > MAX_DIMENSIONS:
        return RejectionReason.OVERSIZED
    if not latent.dim or latent.dim != (dim or latent.dim):
        return RejectionReason.DIMENSION
    for values in (latent.mean, latent.log_var):
        if values is None:
            continue
        largest = float(np.abs(values).max())
        if not math.isfinite(largest):
            return RejectionReason.NOT_FINITE
        if largest > MAX_ABS:
            return RejectionReason.OUT_OF_RANGE
    return None


def find_chain_fault(lct: LCT) -> RejectionReason | None:
    """Check that the provenance of `lct` is one chain; return `BROKEN_CHAIN` if it is not.

    The first step is the only ENCODE and has no parent. Each later step names another parent. The
    last step is of the LCT's own entity, and the last model named is the model of the latent.
    """
    steps = lct.provenance
    linked = (
        steps
        and steps[-1].entity_id == lct.entity_id
        and (steps[0].operation, steps[0].parent_id) == (Operation.ENCODE, NO_PARENT)
        and not any(step.operation in (Operation.UNKNOWN, Operation.ENCODE) for step in steps[1:])
    )
    if not linked:
        return RejectionReason.BROKEN_CHAIN
    parents = {step.parent_id for step in steps}
    if len(parents) < len(steps) or lct.id in parents:
        return RejectionReason.BROKEN_CHAIN
    models = [step.model.fingerprint for step in steps]
    named = [fingerprint for fingerprint in models if fingerprint != UNKNOWN_FINGERPRINT]
    if not named or named[-1] != lct.latent.model.fingerprint:
        return RejectionReason.BROKEN_CHAIN
    return None
