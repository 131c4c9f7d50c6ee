# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Weights of views by their consistency with the past of a track."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import Latent, ModelId
from sage_perception.core.lct import LCT, Operation, Provenance
from sage_perception.trust.fusion.cross_view import CrossViewFusion
from sage_perception.trust.fusion.fusion import ALONE_TRUST
from sage_perception.trust.fusion.moments import AcceptedFrame
from sage_perception.trust.fusion.synchronizer import Partner
from sage_perception.trust.fusion.view_history import GAP_S, HOLD_S, MIN_WEIGHT, ViewHistory

MODEL = ModelId('m', '1', bytes(range(32)))
CAMERAS = ['cam0', 'cam1']
A, B, C, D = np.eye(4)
STEP_NS = 100_000_000
UNIT = st.floats(0.01, 1)
PART = st.integers(-200, 200).map(lambda value: value / 100)


def a_history(past=A, power=8.0, frames=1):
    history = ViewHistory(CAMERAS, np.zeros(4), power)
    for n in range(frames):
        history.note(1, 10**9 + n * STEP_NS, past, {'cam1': 7})
    return history


def after(frames=1):
    return 10**9 + frames * STEP_NS


@given(st.lists(st.tuples(PART, PART, UNIT), min_size=2, max_size=2))
def test_weights_sum_to_1_and_follow_the_views(parts):
    latents = [x * A + y * B for x, y, _ in parts]
    trusts = [trust for _, _, trust in parts]
    weights = a_history().weigh(1, after(), CAMERAS, latents, trusts)
    swapped = a_history().weigh(1, after(), CAMERAS[::-1], latents[::-1], trusts[::-1])
    if weights is None:  # no view resembles the past
        assert swapped is None
        return
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    np.testing.assert_allclose(swapped, weights[::-1])
    scaled = a_history(10 * A).weigh(1, after(), CAMERAS, [3 * each for each in latents], trusts)
    np.testing.assert_allclose(scaled, weights)


def test_the_view_that_differs_from_the_past_loses_its_weight_without_a_jump():
    history = a_history(frames=3)
    assert history.weigh(1, after(3), CAMERAS, [A, A], [1, 1]) == pytest.approx([0.5, 0.5])
    found = []
    for n in range(4, 10):
        history.note(1, after(n - 1), A, {})
        found.append(history.weigh(1, after(n), CAMERAS, [A + B, A], [1, 1])[0])
    assert all(a > b for a, b in itertools.pairwise(found))
    assert 0.5 > found[0] > 0.25, 'half of the change arrives within 0.1 s'
    assert found[-1] < 0.07, 'cosine 0.71 to the power 8 is 0.06'


def test_a_weight_has_a_floor_so_that_a_camera_can_return():
    weights = a_history().weigh(1, after(), CAMERAS, [A, -A], [1, 1])
    assert weights[1] == pytest.approx(MIN_WEIGHT / (1 + MIN_WEIGHT))


def test_trust_counts_among_consistent_views():
    weights = a_history().weigh(1, after(), CAMERAS, [A, A], [0.9, 0.3])
    assert weights == pytest.approx([0.75, 0.25])


def test_a_scene_cut_and_a_gap_end_the_past():
    history = a_history()
    assert history.weigh(1, after(), CAMERAS, [B, C], [1, 1]) is None
    assert history.past(1, after()) is None
    assert history.partner(1, 'cam1', after()) == 0
    late_ns = 10**9 + round(GAP_S * 1e9) + 1
    assert a_history().weigh(1, late_ns, CAMERAS, [A, A], [1, 1]) is None
    assert a_history().weigh(1, 10**9 - 1, CAMERAS, [A, A], [1, 1]) is None
    assert a_history().weigh(2, after(), CAMERAS, [A, A], [1, 1]) is None


def test_tracks_without_an_id_have_no_past():
    history = a_history()
    history.note(0, after(), A, {})
    assert history.past(0, after(2)) is None


def test_partners_are_held_for_a_while():
    history = a_history()
    stamp_ns = 10**9
    while stamp_ns - 10**9 < HOLD_S * 1e9:
        stamp_ns += STEP_NS
        assert history.partner(1, 'cam1', stamp_ns) == 7
        history.note(1, stamp_ns, A, {})
    assert history.partner(1, 'cam1', stamp_ns + STEP_NS) == 0


def a_frame(camera, track_id, direction, stamp_ns):
    latent = Latent(np.float32(direction), model=MODEL, track_id=track_id)
    lct = LCT(camera, 1, stamp_ns, latent, (Provenance(Operation.ENCODE, camera, MODEL),), 1.0)
    return AcceptedFrame(stamp_ns, [lct])


def run(ours, theirs, **options):
    """Return the fused LCT of each moment of two cameras, one object each."""
    fusion = CrossViewFusion(CAMERAS, np.zeros(4), entity='arbiter', **options)
    numbers = itertools.count()
    found = []
    for n, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        partners = {'cam1': Partner(a_frame('cam1', 7, b, after(n)), 0)}
        frame, weights = a_frame('cam0', 1, a, after(n)), dict.fromkeys(CAMERAS, 1.0)
        found += fusion.fuse(frame, partners, weights, lambda: next(numbers), ['cam1']).fused
    return found


def test_a_primary_camera_that_fails_hands_over_to_the_view_that_agreed_before():
    ours, theirs = [A] * 5 + [B + 0.4 * A] * 20, [A] * 25
    fused = run(ours, theirs)
    cosine = fused[-1].latent.mean @ A / np.linalg.norm(fused[-1].latent.mean)
    assert cosine > 0.99
    assert fused[4].trust > 0.99
    assert fused[-1].trust == pytest.approx(ALONE_TRUST), 'nothing confirms the primary view'
    without = run(ours, theirs, consistency_power=0)
    np.testing.assert_array_equal(without[-1].latent.mean, np.float32(ours[-1]))


def test_a_view_that_no_longer_agrees_is_dropped_after_a_while():
    frames = 5 + round((HOLD_S + 1) * 10)
    changed = B + 0.4 * A
    fused = run([A] * 5 + [changed] * (frames - 5), [A] * frames)
    np.testing.assert_allclose(fused[-1].latent.mean, np.float32(changed))


def test_a_view_of_another_object_is_not_held():
    fused = run([A] * 5 + [B + 0.4 * A], [A] * 5 + [C])
    np.testing.assert_allclose(fused[-1].latent.mean, np.float32(B + 0.4 * A))
