# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""LCTs: construction, provenance steps and chain trust."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signed_lcts import KEYS, MODEL, NOW, an_lct

from sage_perception.core.latent import Latent, Telemetry
from sage_perception.core.lct import (
    LCT,
    NO_PARENT,
    Operation,
    Provenance,
    chain_trust,
    encoded_id,
    step_from,
)
from sage_perception.trust import sign


@given(st.lists(st.floats(0, 1), max_size=10))
def test_chain_trust_is_the_product_of_its_steps(trusts):
    chain = tuple(Provenance(Operation.RELAY, 'e', trust=trust) for trust in trusts)
    expected = float(np.prod(trusts)) if trusts else 0.0
    assert chain_trust(chain) == pytest.approx(expected)
    if trusts:
        assert chain_trust(chain) <= min(trusts)


def test_encoded_lct_has_one_step_with_the_trust_of_its_telemetry():
    latent = Latent(np.zeros(2, np.float32), model=MODEL, telemetry=Telemetry(0.4))
    lct = LCT.encoded(latent, entity_id='cam0', sequence=3, stamp_ns=NOW)
    assert (lct.entity_id, lct.sequence, lct.stamp_ns, lct.trust) == ('cam0', 3, NOW, 0.4)
    assert lct.provenance == (Provenance(Operation.ENCODE, 'cam0', MODEL, NO_PARENT, 0.4),)
    certain = LCT.encoded(latent, entity_id='cam0', sequence=3, stamp_ns=NOW, trust=1.0)
    assert certain.trust == certain.provenance[0].trust == 1.0
    assert certain.id == lct.id == encoded_id('cam0', 3, 0)


def test_derived_lct_continues_the_chain():
    parent = an_lct(trust=0.5)
    step = step_from(parent, Operation.RELAY, 'relay', MODEL, 0.5)
    lct = LCT.derived(
        parent.latent,
        (*parent.provenance, step),
        entity_id='relay',
        sequence=1,
        stamp_ns=parent.stamp_ns,
    )
    assert (step.parent_id, step.proof, lct.trust) == (parent.id, None, 0.25)


def test_step_has_a_proof_of_another_entitys_signed_lct():
    parent = sign(an_lct('cam0'), KEYS['cam0'])
    proof = step_from(parent, Operation.FUSE, 'arbiter', MODEL).proof
    assert (proof.sequence, proof.stamp_ns, proof.trust) == (1, parent.stamp_ns, parent.trust)
    assert (proof.latent, proof.signature) == (parent.digest, parent.signature)
    assert step_from(parent, Operation.FUSE, 'cam0', MODEL).proof is None
