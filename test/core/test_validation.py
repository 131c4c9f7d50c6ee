# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Field checks of LCTs: each fault has its rejection reason."""

import math
from dataclasses import replace

import numpy as np
import pytest
from signed_lcts import an_lct

from sage_perception.core.latent import ModelId, Telemetry
from sage_perception.trust.security.admission import AdmissionFilter, Expected
from sage_perception.trust.security.limits import MAX_CHAIN
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.validation import find_fault

FAULTS = {
    RejectionReason.NO_ENTITY: [{'entity_id': ''}],
    RejectionReason.BAD_ENTITY: [
        {'entity_id': 'c\u0430m0'},
        {'entity_id': 'cam0 '},
        {'entity_id': 'cam0\x1b[2J'},
    ],
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


def changed(fault):
    """Return an LCT that is valid except for one field."""
    lct = an_lct()
    latent = lct.latent
    if 'mean' in fault:
        latent = replace(latent, mean=np.array(fault['mean'], np.float32))
    if 'log_var' in fault:
        latent = replace(latent, log_var=np.array(fault['log_var'], np.float32))
    for name in ('model', 'telemetry'):
        if name in fault:
            latent = replace(latent, **{name: fault[name]})
    provenance = lct.provenance
    if 'step' in fault:
        provenance = (replace(provenance[0], trust=fault['step']),)
    if 'steps' in fault:
        certain = replace(provenance[0], trust=1.0)
        provenance = (provenance[0], *[certain] * (fault['steps'] - 1))[: fault['steps']]
    fields = {k: fault[k] for k in ('entity_id', 'stamp_ns', 'trust') if k in fault}
    return replace(lct, latent=latent, provenance=provenance, **fields)


@pytest.mark.parametrize(
    ('reason', 'fault'),
    [(reason, fault) for reason, faults in FAULTS.items() for fault in faults],
    ids=str,
)
def test_each_fault_has_its_reason_and_is_counted(reason, fault):
    assert find_fault(changed(fault), dim=2) is reason
    admission = AdmissionFilter()
    assert admission.admit(changed(fault), Expected(2)).reason is reason
    assert (admission.accepted, dict(admission.reasons)) == (0, {reason: 1})
    assert admission.admit(an_lct(), Expected(2)).reason is None


def test_every_rejection_reason_has_a_test():
    verification = {
        RejectionReason.STAMP,
        RejectionReason.WRONG_MODEL,
        RejectionReason.MALFORMED,
        RejectionReason.UNKNOWN_KEY,
        RejectionReason.REVOKED_KEY,
        RejectionReason.UNSIGNED,
        RejectionReason.BAD_SIGNATURE,
        RejectionReason.MISSING_PROOF,
        RejectionReason.BAD_PROOF,
        RejectionReason.UNKNOWN_STEP,
    }
    admission = {RejectionReason.REPLAYED}
    announcements = {RejectionReason.PROBE_SET_MISMATCH}
    arbiter = {
        RejectionReason.WRONG_ENTITY,
        RejectionReason.NOT_MEASURED,
        RejectionReason.INCOMPATIBLE,
    }
    relayed = {RejectionReason.NOT_RELAYED, RejectionReason.WRONG_RELAY}
    nodes = {RejectionReason.RATE_LIMITED}
    elsewhere = verification | admission | announcements | arbiter | relayed | nodes
    assert set(FAULTS) | elsewhere == set(RejectionReason)


@pytest.mark.parametrize(
    ('lct', 'dim'),
    [
        (an_lct(), None),
        (an_lct(log_var=np.float32([-1.0, 1.0])), 2),
        (changed({'steps': MAX_CHAIN}), None),
        (changed({'mean': [1.0]}), None),
    ],
    ids=['plain', 'with variance', 'longest chain', 'unknown number of dimensions'],
)
def test_valid_lct_has_no_fault(lct, dim):
    assert find_fault(lct, dim) is None
