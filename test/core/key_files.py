# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Keys for the tests of key files, trust stores and `sage keys`."""

import stat

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.trust.security.keys import public_bytes


def a_key():
    return Ed25519PrivateKey.generate()


def a_public():
    return public_bytes(a_key())


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)
