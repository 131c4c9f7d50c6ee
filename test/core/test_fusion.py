# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fusion of the latents of one object: weights, variances, and trust."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import Latent, LatentKind, ModelId
from sage_perception.core.lct import LCT, Operation, Provenance, chain_trust
from sage_perception.trust.fusion.fusion import ALONE_TRUST, View, fuse, view_weights
from sage_perception.trust.fusion.matching import cosine_matrix
from sage_perception.trust.security.limits import MAX_CHAIN, MAX_STEPS
from sage_perception.trust.security.validation import find_fault

MODEL = ModelId('m', '1', bytes(range(32)))
UNIT = st.floats(0, 1)
SMALL = st.floats(-5, 5, width=32)
FOUR = st.lists(SMALL, min_size=4, max_size=4)


def an_lct(mean=(1.0, 2.0), log_var=None, trust=0.8, entity='cam0', steps=1):
    latent = Latent(
        np.array(mean, np.float32),
        None if log_var is None else np.array(log_var, np.float32),
        model=MODEL,
    )
    first = LCT.encoded(latent, entity_id=entity, sequence=1, stamp_ns=10**9, trust=trust)
    rest = [Provenance(Operation.RELAY, entity, MODEL, bytes([n]) * 16) for n in range(1, steps)]
    return replace(first, provenance=(*first.provenance, *rest))


def fused_of(*views):
    views = [view if isinstance(view, View) else View(view) for view in views]
    return fuse(views, np.zeros(views[0].lct.latent.dim), 'arbiter', 7)


def fusion_trust(fused):
    """Return the product of the trusts of all fusion steps."""
    return math.prod(s.trust for s in fused.provenance if s.operation is Operation.FUSE)


@given(st.lists(st.tuples(FOUR, FOUR, UNIT, UNIT), min_size=1, max_size=4))
def test_weights_each_dimension_by_precision_and_view(parts):
    views = [View(an_lct(m, v, trust), camera_weight) for m, v, trust, camera_weight in parts]
    fused = fused_of(*views)
    means, log_vars = (np.array([part[n] for part in parts], np.float64) for n in (0, 1))
    precision = view_weights(views, cosine_matrix(means, means))[:, None] / np.exp(log_vars)
    variance = 1 / precision.sum(axis=0)
    expected = variance * (means * precision).sum(axis=0)
    np.testing.assert_allclose(fused.latent.mean, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fused.latent.log_var, np.log(variance), rtol=1e-4, atol=1e-4)
    assert fused.latent.mean.dtype == fused.latent.log_var.dtype == np.float32
    assert fused.trust == pytest.approx(chain_trust(fused.provenance))
    assert 0 <= fused.trust <= views[0].lct.trust


def test_fuses_two_views_of_known_weights():
    precise, imprecise = an_lct([1.0], [math.log(1.0)]), an_lct([4.0], [math.log(2.0)])
    fused = fused_of(View(precise, 0.9), View(imprecise, 0.5))
    # The cosine of the two is 1, so only the camera weights count: 0.9 to 0.5.
    share = 0.5 / 0.9 * 0.5
    assert fused.latent.mean[0] == pytest.approx((1 * 1.0 + share * 4.0) / (1 + share))
    assert fused.latent.log_var[0] == pytest.approx(-math.log(1 + share))
    assert fused.latent.kind is LatentKind.FUSED
    assert (fused.entity_id, fused.sequence, fused.stamp_ns) == ('arbiter', 7, precise.stamp_ns)
    assert fused.trust == pytest.approx(0.8 * 0.9 * (0.6 + 0.4 * 0.5))
    assert [step.parent_id for step in fused.provenance[1:]] == [precise.id, imprecise.id]
    assert all(step.operation is Operation.FUSE for step in fused.provenance[1:])
    assert find_fault(fused) is None


def test_without_variances_all_views_have_equal_precision():
    fused = fused_of(an_lct([1.0]), an_lct([4.0], [0.0]))
    assert fused.latent.mean[0] == 2.5
    assert fused.latent.log_var is None


@pytest.mark.parametrize('log_var', [None, (-3.0, 3.0)])
def test_a_primary_view_alone_passes_unchanged_with_low_trust(log_var):
    primary = an_lct((1 / 3, -2 / 3), log_var)
    fused = fused_of(View(primary, 0.5))
    assert np.array_equal(fused.latent.mean, primary.latent.mean)
    if log_var is not None:
        assert np.array_equal(fused.latent.log_var, primary.latent.log_var)
    assert fused.trust == pytest.approx(primary.trust * ALONE_TRUST * 0.5)
    assert fused.id != primary.id


@given(st.lists(UNIT, min_size=1, max_size=5), UNIT)
def test_another_view_never_lowers_the_trust(camera_weights, more):
    views = [
        View(an_lct(entity=f'cam{n}'), camera_weight)
        for n, camera_weight in enumerate(camera_weights)
    ]
    fewer = fusion_trust(fused_of(*views))
    many = fusion_trust(fused_of(*views, View(an_lct(entity='more'), more)))
    assert fewer - 1e-9 <= many <= camera_weights[0] + 1e-9
    assert fewer >= ALONE_TRUST * camera_weights[0] - 1e-9


def test_the_least_similar_view_has_the_smallest_weight():
    alike = [an_lct((1.0, 0.1)), an_lct((1.0, -0.1))]
    apart = an_lct((0.3, 1.0))
    cosines = np.array([[1.0, 0.9, 0.4], [0.9, 1.0, 0.3], [0.4, 0.3, 1.0]])
    weights = view_weights([View(lct) for lct in (*alike, apart)], cosines)
    assert weights.argmin() == 2
    assert weights.max() == 1.0
    assert fused_of(*alike, apart).latent.mean[1] < 0.33


def test_views_without_any_weight_count_equally():
    fused = fused_of(View(an_lct([1.0]), 0.0), View(an_lct([4.0]), 0.0))
    assert fused.latent.mean[0] == 2.5
    assert fused.trust == 0.0


@pytest.mark.parametrize('extreme', [-9000.0, 9000.0])
def test_extreme_variances_fuse_to_finite_values(extreme):
    a, b = an_lct([1.0, 1.0], [extreme, extreme]), an_lct([3.0, 3.0], [extreme, 0.0])
    assert find_fault(a) is None
    fused = fused_of(a, b).latent
    assert np.isfinite(fused.mean).all()
    assert np.isfinite(fused.log_var).all()
    assert fused.mean[0] == pytest.approx(2.0), 'equal precision'
    assert fused.mean[1] == pytest.approx(1.0 if extreme < 0 else 3.0), 'the more precise one'


def test_fuses_no_more_views_than_a_message_has_steps_for():
    primary = an_lct(steps=MAX_CHAIN)
    fused = fused_of(primary, *[replace(an_lct(), entity_id=f'cam{n}') for n in range(5)])
    assert len(fused.provenance) == MAX_STEPS
