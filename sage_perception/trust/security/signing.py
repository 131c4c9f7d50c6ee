# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Signs LCTs with Ed25519 (RFC 8032)."""

from __future__ import annotations

from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.core.lct import LCT
from sage_perception.trust.security.canonical import PLAIN, Wire, canonical_form
from sage_perception.trust.security.limits import DIGEST_BYTES


def sign(lct: LCT, key: Ed25519PrivateKey, wire: Wire = PLAIN) -> LCT:
    """Return `lct` with a signature for the transmitted encoding of its latent, `wire`.

    Raises `ValueError` for a value that no message can hold.
    """
    form = canonical_form(lct, wire)
    return replace(lct, signature=key.sign(form), digest=form[-DIGEST_BYTES:])
