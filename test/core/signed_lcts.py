# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Signed LCTs, keys and trust stores for the tests of security."""

from dataclasses import replace

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.core.latent import Latent, ModelId
from sage_perception.core.lct import Operation, step_from
from sage_perception.trust import LCT, TrustStore, sign
from sage_perception.trust.security.keys import public_bytes

SECOND = 10**9
NOW = 100 * SECOND
MODEL = ModelId('m', '1', bytes(range(32)))
OTHER_MODEL = ModelId('other', '1', bytes(range(1, 33)))
TRUSTED = ('cam0', 'cam1', 'arbiter', 'relay')
KEYS = {
    name: Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)
    for n, name in enumerate((*TRUSTED, 'forger'))
}


def a_store(*entities):
    """Return a store that trusts these entities, by default all of `TRUSTED`."""
    store = TrustStore()
    for entity in entities or TRUSTED:
        store.trust(entity, public_bytes(KEYS[entity]))
    return store


def an_lct(entity='cam0', sequence=1, trust=0.75, stamp_ns=NOW, **latent):
    """Return an unsigned LCT as an encoder makes it."""
    latent = Latent(np.array([1.0, 2.0], np.float32), **{'model': MODEL, **latent})
    return LCT.encoded(latent, entity_id=entity, sequence=sequence, stamp_ns=stamp_ns, trust=trust)


def signed(entity='cam0', sequence=1, **rest):
    """Return a signed LCT as an encoder makes it."""
    return sign(an_lct(entity, sequence, **rest), KEYS[entity])


def derived(parent, entity='relay', sequence=1, operation=Operation.RELAY, **change):
    """Return the signed LCT that `entity` derives from another one."""
    step = step_from(parent, operation, entity, parent.latent.model)
    lct = LCT.derived(
        parent.latent,
        (*parent.provenance, step),
        entity_id=entity,
        sequence=sequence,
        stamp_ns=parent.stamp_ns,
    )
    return sign(replace(lct, **change), KEYS[entity])
