# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Signs LCTs with Ed25519 (RFC 8032), alone or as an array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sage_perception.core.lct import LCT, Membership, encoded_id
from sage_perception.trust.security.array_form import array_form, leaf_digest, tree
from sage_perception.trust.security.canonical import (
    IN_ARRAY,
    PLAIN,
    Wire,
    canonical_form,
    latent_digest,
)
from sage_perception.trust.security.limits import DIGEST_BYTES

if TYPE_CHECKING:  # not needed without a key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


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

    Parameters and errors are those of `array_signature`.
    """
    if not lcts:
        return []
    signature = array_signature(lcts, frame, key)
    return [replace(lct, signature=signature) for lct in array_members(lcts, frame)]


def array_signature(
    lcts: Sequence[tuple[LCT, Wire]], frame: bytes, key: Ed25519PrivateKey
) -> bytes:
    """Return the signature of an array of at least one LCT of an encoder for one frame.

    They must have the same entity, sequence and stamp, and ids by their order
    (`encoded_id`). `frame` is that of `array_form.frame_digest`. Raises `ValueError` for a value
    that no message can hold, and for LCTs that differ where they must not.
    """
    first = lcts[0][0]
    shared = first.entity_id, first.sequence, first.stamp_ns
    for index, (lct, _) in enumerate(lcts):
        own = lct.entity_id, lct.sequence, lct.stamp_ns
        if own != shared or lct.id != encoded_id(first.entity_id, first.sequence, index):
            raise ValueError(f'LCT {index} of an array is not of {shared}, or has another id')
    root, _ = tree(_leaves(lcts)[1])
    return key.sign(array_form(*shared, frame, len(lcts), root))


def array_members(lcts: Sequence[tuple[LCT, Wire]], frame: bytes) -> list[LCT]:
    """Return LCTs with their memberships in the array of all of them; raises as `sign_array`."""
    digests, leaves = _leaves(lcts)
    _, paths = tree(leaves)
    return [
        replace(lct, digest=digest, membership=Membership(index, len(lcts), frame, path))
        for index, ((lct, _), digest, path) in enumerate(zip(lcts, digests, paths, strict=True))
    ]


def _leaves(lcts: Sequence[tuple[LCT, Wire]]) -> tuple[list[bytes], list[bytes]]:
    """Return the digests of the latents of an array, and the leaves of its tree."""
    digests = [latent_digest(lct.latent, wire, IN_ARRAY) for lct, wire in lcts]
    leaves = [
        leaf_digest(lct.latent.model.fingerprint, lct.trust, digest)
        for (lct, _), digest in zip(lcts, digests, strict=True)
    ]
    return digests, leaves
