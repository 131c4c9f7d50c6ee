# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Who may be believed, and how far."""

from sage_perception.trust.lct import LCT
from sage_perception.trust.signing import sign, verify
from sage_perception.trust.store import TrustStore

__all__ = ['LCT', 'TrustStore', 'sign', 'verify']
