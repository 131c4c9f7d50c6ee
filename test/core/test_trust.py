# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Trust: screening, provenance."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import Latent, ModelId, Telemetry
from sage_perception.core.lct import LCT, Operation, Provenance, chain_trust
from sage_perception.trust.security.admission import AdmissionFilter
from sage_perception.trust.security.rejection import MAX_CHAIN, RejectionReason, find_fault

MODEL = ModelId('m', '1', bytes(range(32)))
UNIT = st.floats(0, 1)


def an_lct(mean=(1.0, 2.0), log_var=None, trust=0.8, entity='cam0', sequence=1, **latent):
    latent = Latent(
        np.array(mean, np.float32),
        None if log_var is None else np.array(log_var, np.float32),
        model=MODEL,
        **latent,
    )
    step = Provenance(Operation.ENCODE, entity, MODEL, trust=trust)
    return LCT(entity, sequence, 10**9, latent, (step,), trust)


# Screening


FAULTS = {
    RejectionReason.NO_ENTITY: [{'entity_id': ''}],
    RejectionReason.NO_STAMP: [{'stamp_ns': 0}, {'stamp_ns': -1}],
    RejectionReason.DIMENSION: [{'mean': []}, {'mean': [1.0]}, {'mean': [1.0, 2.0, 3.0]}],
    RejectionReason.OVERSIZED: [
        {'entity_id': 'x' * 65},
        {'mean': [0.0] * 4097},
        {'telemetry': Telemetry(energy_trajectory=(0.0,) * 257)},
    ],
    RejectionReason.NOT_FINITE: [
        {'telemetry': Telemetry(latent_norm=math.nan)},
        {'telemetry': Telemetry(time_s=math.inf)},
        {'telemetry': Telemetry(budget_spent=-math.inf)},
        {'telemetry': Telemetry(reconstruction_error=math.inf)},
        {'telemetry': Telemetry(kl_per_dim=-math.inf)},
        {'mean': [1.0, math.nan]},
        {'mean': [-math.inf, 1.0]},
        {'log_var': [0.0, math.nan]},
        {'log_var': [math.inf, 0.0]},
    ],
    RejectionReason.OUT_OF_RANGE: [
        {'mean': [1.0, 1e5]},
        {'log_var': [-1e5, 0.0]},
        {'trust': 1.5},
        {'trust': -0.1},
        {'trust': math.nan},
        {'telemetry': Telemetry(trust=1.1)},
        {'telemetry': Telemetry(trust=math.nan)},
        {'step': math.inf},
        {'step': math.nan},
        {'steps': MAX_CHAIN + 1},
    ],
    RejectionReason.UNKNOWN_MODEL: [{'model': ModelId('m', '1')}],
    RejectionReason.BROKEN_CHAIN: [{'trust': 0.9}, {'step': 0.1}, {'steps': 0}],
}


def spoilt(fault):
    """A well-formed LCT but for one thing."""
    lct = an_lct(fault.get('mean', [1.0, 2.0])[:0] or [1.0, 2.0], [0.0, 0.0])
    latent = lct.latent
    if 'mean' in fault:
        mean = np.array(fault['mean'], np.float32)
        latent = replace(latent, mean=mean, log_var=None)
    if 'log_var' in fault:
        latent = replace(latent, log_var=np.array(fault['log_var'], np.float32))
    for name in ('model', 'telemetry'):
        if name in fault:
            latent = replace(latent, **{name: fault[name]})
    provenance = lct.provenance
    if 'step' in fault:
        provenance = (replace(provenance[0], trust=fault['step']),)
    if 'steps' in fault:
        sure = replace(provenance[0], trust=1.0)
        provenance = (provenance[0], *[sure] * (fault['steps'] - 1))[: fault['steps']]
    own = {k: fault[k] for k in ('entity_id', 'stamp_ns', 'trust') if k in fault}
    return replace(lct, latent=latent, provenance=provenance, **own)


@pytest.mark.parametrize(
    ('refusal', 'fault'),
    [(refusal, fault) for refusal, faults in FAULTS.items() for fault in faults],
    ids=str,
)
def test_each_fault_has_its_name_and_is_counted(refusal, fault):
    assert find_fault(spoilt(fault), dim=2) is refusal
    screen = AdmissionFilter()
    assert screen.judge(spoilt(fault), dim=2) is refusal
    assert (screen.accepted, screen.refused, dict(screen.reasons)) == (0, 1, {refusal: 1})


def test_every_refusal_is_tried():
    authenticity = {
        RejectionReason.STAMP,
        RejectionReason.WRONG_MODEL,
        RejectionReason.UNKNOWN_KEY,
        RejectionReason.REVOKED_KEY,
        RejectionReason.UNSIGNED,
        RejectionReason.BAD_SIGNATURE,
        RejectionReason.UNPROVEN,
        RejectionReason.BAD_PROOF,
        RejectionReason.UNKNOWN_STEP,
    }
    # test_arbiter.py, test_statements.py
    of_the_arbiter = {
        RejectionReason.WRONG_ENTITY,
        RejectionReason.OTHER_PROBES,
        RejectionReason.NOT_MEASURED,
        RejectionReason.INCOMPATIBLE,
        RejectionReason.FLOOD,
    }
    elsewhere = (
        {RejectionReason.MALFORMED, RejectionReason.SEQUENCE} | authenticity | of_the_arbiter
    )
    assert set(FAULTS) | elsewhere == set(RejectionReason)


def test_a_well_formed_lct_has_no_fault():
    assert find_fault(an_lct()) is None
    assert find_fault(an_lct(log_var=(-1.0, 1.0)), dim=2) is None
    assert find_fault(spoilt({'steps': MAX_CHAIN})) is None
    # Without a known model its size is as good as any.
    assert find_fault(an_lct(mean=[1.0])) is None


def test_an_entity_says_nothing_twice_and_nothing_old():
    screen = AdmissionFilter()
    order = [5, 5, 4, 6, 2**64 - 1, 7]
    verdicts = [screen.judge(an_lct(sequence=n)) for n in order]
    replayed = RejectionReason.SEQUENCE
    assert verdicts == [None, replayed, replayed, None, None, replayed]
    assert (screen.accepted, screen.refused) == (3, 3)
    assert screen.reasons == {replayed: 3}


def test_entities_count_for_themselves():
    screen = AdmissionFilter()
    assert screen.judge(an_lct(entity='a', sequence=9)) is None
    assert screen.judge(an_lct(entity='b', sequence=0)) is None


def test_what_was_refused_uses_up_no_sequence_number():
    screen = AdmissionFilter()
    good = an_lct(sequence=3)
    assert screen.judge(replace(good, stamp_ns=0)) is RejectionReason.NO_STAMP
    assert screen.judge(good) is None


# Trust


@given(st.lists(UNIT, max_size=10))
def test_the_trust_of_a_chain_is_the_product_of_its_steps(trusts):
    chain = tuple(Provenance(Operation.RELAY, 'e', trust=trust) for trust in trusts)
    expected = float(np.prod(trusts)) if trusts else 0.0
    assert chain_trust(chain) == pytest.approx(expected)
    if trusts:
        assert chain_trust(chain) <= min(trusts)
