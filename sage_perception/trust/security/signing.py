# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Signs LCTs with Ed25519 (RFC 8032), alone or as an array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.core.lct import LCT, Membership
from sage_perception.trust.security.array_form import leaf_digest, tree
from sage_perception.trust.security.canonical import (
    IN_ARRAY,
    PLAIN,
    Wire,
    canonical_form,
    latent_digest,
)
from sage_perception.trust.security.limits import DIGEST_BYTES


def sign(lct: LCT, key: Ed25519PrivateKey, wire: Wire = PLAIN) -> LCT:
    """Return `lct` with a signature for the transmitted encoding of its latent, `wire`.

    Raises `ValueError` for a value that no message can hold.
    """
    form = canonical_form(replace(lct, membership=None), wire)
    return replace(lct, signature=key.sign(form), digest=form[-DIGEST_BYTES:], membership=None)


def sign_array(
    lcts: Sequence[tuple[LCT, Wire]], frame: bytes, key: Ed25519PrivateKey
) -> list[LCT]:
    """Return the LCTs of an encoder for one frame with one signature for all of them.

    They must have the same entity, sequence and stamp, and ids by their order
    (`encoded_id`). `frame` is that of `array_form.frame_digest`. Raises `ValueError` for a value
    that no message can hold.
    """
    if not lcts:
        return []
    members = array_members(lcts, frame)
    signature = key.sign(canonical_form(members[0], lcts[0][1]))
    return [replace(lct, signature=signature) for lct in members]


def array_members(lcts: Sequence[tuple[LCT, Wire]], frame: bytes) -> list[LCT]:
    """Return LCTs with their memberships in the array of all of them; raises as `sign_array`."""
    digests = [latent_digest(lct.latent, wire, IN_ARRAY) for lct, wire in lcts]
    leaves = [
        leaf_digest(lct.latent.model.fingerprint, lct.trust, digest)
        for (lct, _), digest in zip(lcts, digests, strict=True)
    ]
    _, paths = tree(leaves)
    return [
        replace(lct, digest=digest, membership=Membership(index, len(lcts), frame, path))
        for index, ((lct, _), digest, path) in enumerate(zip(lcts, digests, paths, strict=True))
    ]
