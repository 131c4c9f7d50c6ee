# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Verifies received LCTs: field checks, then the signature, then the proofs of earlier steps.

Verification has no state. `admission.AdmissionFilter` adds replay protection and counters.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from sage_perception.core.lct import LCT, Operation
from sage_perception.trust.security.canonical import (
    PLAIN,
    Wire,
    canonical_form,
    latent_digest,
    proven_form,
    version_of,
)
from sage_perception.trust.security.limits import (
    MAX_CODES,
    MAX_PAYLOAD_BYTES,
    SIGNATURE_BYTES,
)
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.trust_store import TrustedKey, TrustStore
from sage_perception.trust.security.validation import (
    find_chain_fault,
    find_latent_fault,
    find_metadata_fault,
)

# Covers the slowest encoder (1 s) and clocks that are not synchronized.
TOLERANCE_NS = 5_000_000_000

# Faults that an honest entity never signs. Faults that a third party can cause by delaying,
# repeating or changing messages are excluded, and so are those of the receiver: it may lack a
# codebook, for example.
ATTRIBUTABLE = frozenset(
    {
        RejectionReason.BROKEN_CHAIN,
        RejectionReason.DIMENSION,
        RejectionReason.NOT_FINITE,
        RejectionReason.OUT_OF_RANGE,
        RejectionReason.OVERSIZED,
    }
)


class SignatureStatus(enum.Enum):
    """The result of the one signature check of an LCT."""

    UNCHECKED = enum.auto()
    NO_KEY = enum.auto()  # the entity has no key in the trust store; there is nothing to check
    INVALID = enum.auto()
    VALID = enum.auto()

    @property
    def authentic(self) -> bool:
        """Whether the LCT is the entity's own, as far as the trust store can tell."""
        return self in (SignatureStatus.NO_KEY, SignatureStatus.VALID)


class Verification(NamedTuple):
    """The result of verifying an LCT; `reason` is None for an LCT that passes.

    `key` is the public key that verifies the signature, empty if none does.
    """

    reason: RejectionReason | None
    signature: SignatureStatus
    key: bytes = b''


class SignatureCheck(NamedTuple):
    """The result of a signature check: the fault, or the public key that verifies it."""

    fault: RejectionReason | None
    key: bytes = b''


def verify(
    lct: LCT,
    store: TrustStore,
    *,
    dim: int | None = None,
    fingerprint: bytes | None = None,
    now_ns: int | None = None,
    tolerance_ns: int = TOLERANCE_NS,
    wire: Wire = PLAIN,
    require_signature: bool = True,
) -> RejectionReason | None:
    """Return the reason for rejecting `lct`, or None. For the arguments see `check`."""
    return check(
        lct,
        store,
        dim=dim,
        fingerprint=fingerprint,
        now_ns=now_ns,
        tolerance_ns=tolerance_ns,
        wire=wire,
        require_signature=require_signature,
    ).reason


def check(
    lct: LCT,
    store: TrustStore,
    *,
    dim: int | None = None,
    fingerprint: bytes | None = None,
    now_ns: int | None = None,
    tolerance_ns: int = TOLERANCE_NS,
    wire: Wire = PLAIN,
    require_signature: bool = True,
) -> Verification:
    """Verify `lct`, cheap checks first, and check its signature at most once.

    The signature is also checked for an LCT that fails an earlier check with a reason in
    `ATTRIBUTABLE`: its status tells whether the fault is the entity's own.

    Parameters
    ----------
    lct : LCT
        A received LCT. The elements of a latent that is still packed (`wire`) are not checked.
    store : TrustStore
        The trusted keys. An entity with a key must always sign.
    dim, fingerprint : int, bytes, optional
        The number of dimensions and the fingerprint of the model that the entity announced.
    now_ns : int, optional
        The graph's clock. Without it, time stamps are not checked.
    tolerance_ns : int
        Largest difference between the time stamp and `now_ns`.
    wire : Wire
        The encoding and the payload of the latent in the received message.
    require_signature : bool
        Reject LCTs of entities without a trusted key.

    """
    keys = store.keys_of(lct.entity_id)
    if not keys and require_signature and lct.entity_id:
        return Verification(RejectionReason.UNKNOWN_KEY, SignatureStatus.UNCHECKED)
    fault = (
        find_size_fault(lct, wire)
        or find_metadata_fault(lct)
        or find_context_fault(lct, fingerprint, now_ns, tolerance_ns)
        or (find_latent_fault(lct.latent, dim) if lct.latent.dim or not wire.packed else None)
        or (find_chain_fault(lct) if keys else None)
    )
    if fault is not None and fault not in ATTRIBUTABLE:
        return Verification(fault, SignatureStatus.UNCHECKED)
    signature, (signature_fault, key) = check_signature(lct, keys, wire)
    fault = fault or signature_fault or find_proof_fault(lct, store, wire)
    return Verification(fault, signature, key)


def find_size_fault(lct: LCT, wire: Wire) -> RejectionReason | None:
    """Check the sizes of signature, payload and further codes."""
    payloads = [wire.payload, *(code.payload for code in lct.latent.codes)]
    oversized = (
        len(lct.signature) > SIGNATURE_BYTES
        or len(lct.latent.codes) > MAX_CODES
        or max(map(len, payloads)) > MAX_PAYLOAD_BYTES
    )
    return RejectionReason.OVERSIZED if oversized else None


def find_context_fault(
    lct: LCT, fingerprint: bytes | None, now_ns: int | None, tolerance_ns: int
) -> RejectionReason | None:
    """Check the time stamp against the clock and the model against the announced one."""
    if now_ns is not None and abs(now_ns - lct.stamp_ns) > tolerance_ns:
        return RejectionReason.STAMP
    if fingerprint is not None and fingerprint != lct.latent.model.fingerprint:
        return RejectionReason.WRONG_MODEL
    return None


def check_signature(
    lct: LCT, keys: Sequence[TrustedKey], wire: Wire = PLAIN
) -> tuple[SignatureStatus, SignatureCheck]:
    """Check the signature of `lct` against the keys of its entity.

    An LCT that no message can hold is `MALFORMED`, also without any key.
    """
    if not keys:
        try:
            canonical_form(lct, wire)
        except ValueError:
            return SignatureStatus.NO_KEY, SignatureCheck(RejectionReason.MALFORMED)
        return SignatureStatus.NO_KEY, SignatureCheck(None)
    found = verify_form(lct.signature, partial(canonical_form, lct, wire), keys)
    return (SignatureStatus.INVALID if found.fault else SignatureStatus.VALID), found


def verify_form(
    signature: bytes, form: Callable[[], bytes], keys: Sequence[TrustedKey]
) -> SignatureCheck:
    """Check a signature over the bytes that `form` returns against the keys of an entity.

    `form` may raise `ValueError` for a value that no message can hold. The newest valid key is
    tried first.
    """
    valid = [key for key in keys if not key.revoked]
    if not valid:
        return SignatureCheck(RejectionReason.REVOKED_KEY)
    if not signature:
        return SignatureCheck(RejectionReason.UNSIGNED)
    try:
        data = form()
    except ValueError:
        return SignatureCheck(RejectionReason.MALFORMED)
    for key in reversed(valid):
        if key.verifies(signature, data):
            return SignatureCheck(None, key.public)
    # Only the last revoked key is tried: each one makes a forgery more expensive to reject.
    revoked = sorted((key for key in keys if key.revoked), key=lambda key: key.revoked or '')
    if any(key.verifies(signature, data) for key in revoked[-1:]):
        return SignatureCheck(RejectionReason.REVOKED_KEY)
    return SignatureCheck(RejectionReason.BAD_SIGNATURE)


def find_proof_fault(lct: LCT, store: TrustStore, wire: Wire = PLAIN) -> RejectionReason | None:
    """Check the proofs of the provenance of `lct` (docs/lct.md, "Provenance").

    Where an entity continues from an LCT of another entity that has a key in `store`, the step
    must have a valid proof. Steps of an entity without a key cannot be verified. Consecutive steps
    of the same entity need no proof: its later signature covers them.

    The time stamp stays the same from step to step, except for COMPRESS, which combines several
    frames. The latent digest stays the same across RELAY steps.
    """
    steps = lct.provenance
    if any(step.proof for step in steps[:1]):
        return RejectionReason.BAD_PROOF
    if steps and steps[-1].entity_id != lct.entity_id and store.keys_of(steps[-1].entity_id):
        return RejectionReason.MISSING_PROOF
    stamp_ns, latent = lct.stamp_ns, b''
    since: set[Operation] = set()
    for n in range(len(steps) - 1, 0, -1):
        step, before = steps[n], steps[n - 1]
        since.add(step.operation)
        keys, proof = store.keys_of(before.entity_id), step.proof
        if step.entity_id == before.entity_id:
            if proof:
                return RejectionReason.BAD_PROOF
            continue
        if not keys:
            continue
        if not proof:
            return RejectionReason.MISSING_PROOF
        form = partial(proven_form, step.parent_id, before.entity_id, steps[:n], proof)
        fault = verify_form(proof.signature, form, keys).fault
        if fault:
            return fault if fault is RejectionReason.REVOKED_KEY else RejectionReason.BAD_PROOF
        if Operation.COMPRESS not in since and proof.stamp_ns != stamp_ns:
            return RejectionReason.BAD_PROOF
        relayed = since == {Operation.RELAY}
        own = partial(latent_digest, lct.latent, wire, version_of(lct))
        if relayed and proof.latent != (latent or own()):
            return RejectionReason.BAD_PROOF
        stamp_ns, latent, since = proof.stamp_ns, proof.latent, set()
    return None
