# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Trust between entities: signatures, compatibility of latent spaces, fusion of cameras."""

from typing import Any

from sage_perception.core.lct import LCT
from sage_perception.trust.arbiter_config import ArbiterConfig
from sage_perception.trust.security.signing import sign
from sage_perception.trust.security.trust_store import TrustStore
from sage_perception.trust.security.verification import verify

__all__ = ['LCT', 'Arbiter', 'ArbiterConfig', 'TrustStore', 'sign', 'verify']


def __getattr__(name: str) -> Any:
    # The arbiter needs scipy, which takes a second to import; signing and verifying do not.
    if name == 'Arbiter':
        from sage_perception.trust.arbiter import Arbiter

        return Arbiter
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
