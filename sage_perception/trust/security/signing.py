# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Signs LCTs, and tells whether one may be believed to be what its signer said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.core.lct import LCT, Operation
from sage_perception.trust.security.canonical import (
    PLAIN,
    Wire,
    canonical_form,
    latent_digest,
    proven_form,
)
from sage_perception.trust.security.keys import (
    KeyFault,
    key_path,
    key_text,
    load_key,
    public_bytes,
)
from sage_perception.trust.security.rejection import (
    RejectionReason,
    find_break,
    find_metadata_fault,
    find_number_fault,
)
from sage_perception.trust.security.trust_store import TrustedKey, TrustStore

SIGNATURE_BYTES = 64
DIGEST_BYTES = 32  # the end of every canonical form
MAX_PAYLOAD_BYTES = 16384
# A second for the slowest encoder, the others for clocks that nobody synchronizes.
TOLERANCE_NS = 5_000_000_000


def signing_key(place: str, entity: str) -> Ed25519PrivateKey | None:
    """Return the key that `entity` signs with: `place` is its file, or the folder that it is in.

    None for an empty `place`: the entity does not sign. Raises `KeyFault` as `load_key` does, and
    for a file that is not named as the entity's: several nodes may have been given the same one.
    """
    if not place:
        return None
    path = Path(place).expanduser()
    folder = path if path.is_dir() else path.parent
    own = key_path(folder, entity)
    if path not in (folder, own):
        raise KeyFault(
            f'{path} is not named as the key of {entity}, {own.name}: give the folder of the keys'
        )
    return load_key(folder, entity)


def signs_with(key: Ed25519PrivateKey | None) -> str:
    """Return the public key that belongs to `key`, as `sage keys trust` takes it; or 'nothing'."""
    return 'nothing' if key is None else key_text(public_bytes(key))


def sign(lct: LCT, key: Ed25519PrivateKey, wire: Wire = PLAIN) -> LCT:
    """Return `lct` with a signature, for the form in which its latent will travel.

    Raises `ValueError` for what no message can hold.
    """
    form = canonical_form(lct, wire)
    return replace(lct, signature=key.sign(form), digest=form[-DIGEST_BYTES:])


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
    """Return why `lct` is not to be believed, or None; what is cheap is looked at first.

    `dim` and `fingerprint` are those of the model that the entity announced, `now_ns` the graph's
    clock; each is checked where it is given. A packed latent (`wire`) may come before it is
    unpacked, with no numbers: then they are not looked at. With `require_signature` off an entity
    without a key in `store` is believed as it is; one that has a key must sign all the same.

    It has no memory: that nothing is said twice, a `AdmissionFilter` sees to.
    """
    keys = store.keys_of(lct.entity_id)
    if not keys and require_signature and lct.entity_id:
        return RejectionReason.UNKNOWN_KEY
    if len(lct.signature) > SIGNATURE_BYTES or len(wire.payload) > MAX_PAYLOAD_BYTES:
        return RejectionReason.OVERSIZED
    fault = find_metadata_fault(lct)
    if fault:
        return fault
    if now_ns is not None and abs(now_ns - lct.stamp_ns) > tolerance_ns:
        return RejectionReason.STAMP
    if fingerprint is not None and fingerprint != lct.latent.model.fingerprint:
        return RejectionReason.WRONG_MODEL
    if lct.latent.dim or not wire.packed:
        fault = find_number_fault(lct.latent, dim)
        if fault:
            return fault
    if keys:
        form = partial(canonical_form, lct, wire)
        fault = find_break(lct) or find_forgery(lct.signature, form, keys)
        if fault:
            return fault
    try:
        return find_unproven(lct, store, wire)
    except ValueError:
        return RejectionReason.MALFORMED


def find_unproven(lct: LCT, store: TrustStore, wire: Wire = PLAIN) -> RejectionReason | None:
    """Return why the steps of `lct` are not those that their entities took, or None.

    Nobody speaks for an entity with a key in `store`: where another one went on from its LCT,
    that must be proven. Of an entity without a key nothing can be; its steps are then what the
    next one says of it. What an entity signs covers the steps before that are its own.

    A frame keeps its stamp, unless several are compressed to one, and what is only relayed is the
    same to the bit. Raises `ValueError` for a latent that no message can hold.
    """
    steps = lct.provenance
    if any(step.proof for step in steps[:1]):
        return RejectionReason.BAD_PROOF
    if steps and steps[-1].entity_id != lct.entity_id and store.keys_of(steps[-1].entity_id):
        return RejectionReason.UNPROVEN
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
            return RejectionReason.UNPROVEN
        form = partial(proven_form, step.parent_id, before.entity_id, steps[:n], proof)
        fault = find_forgery(proof.signature, form, keys)
        if fault:
            return fault if fault is RejectionReason.REVOKED_KEY else RejectionReason.BAD_PROOF
        if Operation.COMPRESS not in since and proof.stamp_ns != stamp_ns:
            return RejectionReason.BAD_PROOF
        relayed = since == {Operation.RELAY}
        if relayed and proof.latent != (latent or latent_digest(lct.latent, wire)):
            return RejectionReason.BAD_PROOF
        stamp_ns, latent, since = proof.stamp_ns, proof.latent, set()
    return None


def find_forgery(
    signature: bytes, form: Callable[[], bytes], keys: tuple[TrustedKey, ...]
) -> RejectionReason | None:
    """Return why a signature over what `form` returns is none of an entity's with these keys."""
    valid = [key for key in keys if not key.revoked]
    if not valid:
        return RejectionReason.REVOKED_KEY
    if not signature:
        return RejectionReason.UNSIGNED
    try:
        data = form()
    except ValueError:
        return RejectionReason.MALFORMED
    if any(key.made(signature, data) for key in reversed(valid)):
        return None
    # Only the key that was revoked last is looked for: more would make forgeries dear.
    revoked = sorted((key for key in keys if key.revoked), key=lambda key: key.revoked)
    if any(key.made(signature, data) for key in revoked[-1:]):
        return RejectionReason.REVOKED_KEY
    return RejectionReason.BAD_SIGNATURE
