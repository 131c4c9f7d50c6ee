# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Who may be believed, and how far."""

from sage_perception.core.lct import LCT
from sage_perception.trust.security.signing import sign, verify
from sage_perception.trust.security.trust_store import TrustStore

__all__ = ['LCT', 'Arbiter', 'TrustStore', 'sign', 'verify']


def __getattr__(name: str):
    # It needs scipy, which takes a second to import: who only signs or verifies need not wait.
    if name == 'Arbiter':
        from sage_perception.trust.arbiter import Arbiter

        return Arbiter
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
