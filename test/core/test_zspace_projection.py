# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Projection of volumes, smoothing over time, and the fusion of views."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sage_perception.zspace import (
    AtlasFrame,
    ChronoSummary,
    DifferentialResonance,
    MultiViewFusion,
    SpectralWindow,
    TemporalResonanceBuffer,
    TemporalStack,
    ViewDescriptor,
    VisionProjector,
    ZSpaceError,
    ZSpaceVolume,
    moved_view,
    view_from_camera,
)

finite = st.floats(-1e6, 1e6)
fields = st.integers(1, 6).flatmap(lambda n: arrays(np.float64, (3, n), elements=finite))
resonances = fields.map(lambda f: DifferentialResonance(*f))
projectors = st.builds(
    VisionProjector,
    focus=st.floats(0, 1),
    spread=st.floats(0.05, 2),
    energy_bias=st.floats(-10, 10),
    window=st.sampled_from([SpectralWindow.hann(), SpectralWindow.rectangular()]),
)
volumes = st.integers(1, 6).flatmap(
    lambda d: arrays(np.float32, (d, 3, 4), elements=st.floats(-1e6, 1e6, width=32))
)
directions = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: max(map(abs, v)) > 1e-3)
view_lists = st.lists(
    st.builds(
        ViewDescriptor,
        st.just('camera'),
        st.tuples(*[st.floats(-10, 10)] * 3),
        directions,
        st.floats(0, 1e6),
    ),
    min_size=1,
    max_size=5,
)


@given(projectors, volumes, resonances)
def test_projection_is_a_convex_combination(projector, array, resonance):
    volume = ZSpaceVolume(array)
    weights = projector.depth_weights(volume, resonance)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    projection = projector.project(volume, resonance)
    slack = 1e-5 * max(abs(array).max(), 1e-3)
    assert (projection >= array.min(axis=0) - slack).all()
    assert (projection <= array.max(axis=0) + slack).all()


@given(projectors, volumes, resonances)
def test_projection_scales_with_the_volume(projector, array, resonance):
    one = projector.project(ZSpaceVolume(array), resonance)
    four = projector.project(ZSpaceVolume(4 * array), resonance)
    np.testing.assert_allclose(4 * one, four, rtol=1e-6, atol=1e-40)


@given(projectors, volumes, resonances)
def test_scale_of_the_energy_and_the_bias_do_not_matter(projector, array, resonance):
    volume = ZSpaceVolume(array)
    louder = replace(
        resonance, infinity_energy=1e3 * (abs(resonance.infinity_energy) + 1e-6) - 1e-6
    )
    weights = projector.depth_weights(volume, resonance)
    np.testing.assert_allclose(weights, projector.depth_weights(volume, louder), atol=1e-9)
    unbiased = replace(projector, energy_bias=0.0)
    np.testing.assert_allclose(weights, unbiased.depth_weights(volume, resonance), atol=1e-12)


def test_focus_selects_the_slice():
    volume = ZSpaceVolume(np.arange(5.0)[:, None, None])
    projector = VisionProjector(spread=0.05, window=SpectralWindow.rectangular())
    for index in range(5):
        focused = replace(projector, focus=index / 4)
        assert focused.project(volume, DifferentialResonance.uniform(5))[0, 0] == pytest.approx(
            index, abs=1e-4
        )


def test_weights_do_not_become_equal_where_all_lower_bounds_apply():
    projector = VisionProjector(focus=1, spread=0.05)
    resonance = DifferentialResonance(np.array([1.0, 5, 1]), np.zeros(3), np.zeros(3))
    weights = projector.depth_weights(ZSpaceVolume(np.zeros((3, 1, 1))), resonance)
    assert weights[2] == pytest.approx(weights[1] * 1e6 * 1e-6 / 5, rel=1e-3)


def test_atlas_changes_only_what_it_has():
    projector = VisionProjector(focus=0.2, spread=0.3, energy_bias=0.1)
    assert projector.calibrate_from_atlas(AtlasFrame()) == projector
    moved = projector.calibrate_from_atlas(AtlasFrame(z_signal=-4))
    assert (moved.focus, moved.spread, moved.energy_bias) == (0, 0.3, 0.1)


@given(*[st.floats(-1e9, 1e9)] * 3)
def test_any_summary_gives_a_valid_projector(drift, change, decay):
    summary = ChronoSummary(mean_drift=drift, mean_abs_drift=abs(change), mean_decay=decay)
    projector = VisionProjector.from_summary(summary)
    assert 0 <= projector.focus <= 1
    assert 0.05 <= projector.spread <= 2


@pytest.mark.parametrize(
    'settings',
    [{'focus': 1.5}, {'focus': float('nan')}, {'spread': 0}, {'energy_bias': float('inf')}],
)
def test_invalid_projectors_are_errors(settings):
    with pytest.raises(ZSpaceError, match=next(iter(settings))):
        VisionProjector(**settings)


def test_invalid_resonance_and_telemetry_are_errors():
    with pytest.raises(ZSpaceError, match='infinity_energy contains NaN'):
        DifferentialResonance(np.array([np.nan]), np.zeros(1), np.zeros(1))
    with pytest.raises(ZSpaceError, match='homotopy_flow has the shape'):
        DifferentialResonance(np.ones(1), np.zeros(1), np.zeros(0))
    with pytest.raises(ZSpaceError, match='z_signal'):
        AtlasFrame(z_signal=float('nan'))
    with pytest.raises(ZSpaceError, match='mean_drift'):
        ChronoSummary(mean_drift=float('inf'))


weight_lists = arrays(np.float64, 4, elements=st.floats(-1e6, 1e6))


@given(st.floats(0, 1), st.lists(weight_lists, min_size=1, max_size=6))
def test_smoothed_weights_sum_to_one(decay, frames):
    buffer = TemporalResonanceBuffer(decay)
    for count, weights in enumerate(frames, 1):
        result = buffer.apply(weights)
        assert result.sum() == pytest.approx(1, abs=1e-6)
        assert np.isfinite(result).all()
        assert buffer.frames == count


def test_reset_is_idempotent_and_complete():
    buffer, fresh = TemporalResonanceBuffer(0.3), TemporalResonanceBuffer(0.3)
    buffer.apply([1, 0])
    for _ in range(2):
        buffer.reset()
        assert buffer.frames == 0
        assert buffer.profile is None
    np.testing.assert_array_equal(buffer.apply([0.2, 0.8]), fresh.apply([0.2, 0.8]))


def test_smoothing_limits_the_change_per_frame():
    buffer = TemporalResonanceBuffer(0.25)
    buffer.apply([1, 0])
    steps = [buffer.apply([0, 1])[1] for _ in range(40)]
    assert max(np.diff([0, *steps])) <= 0.25 + 1e-9
    assert steps[-1] == pytest.approx(1, abs=1e-4)


def test_weights_that_are_not_finite_change_nothing():
    buffer = TemporalResonanceBuffer(0.5)
    before = buffer.apply([0.3, 0.7])
    with pytest.raises(ZSpaceError, match='NaN'):
        buffer.apply([np.nan, 1])
    np.testing.assert_array_equal(buffer.profile, before)
    with pytest.raises(ZSpaceError, match='decay'):
        TemporalResonanceBuffer(1.1)


def test_stack_has_a_fast_and_a_slow_part():
    stack = TemporalStack([0.5, 0.02])
    stack.apply([1, 0])
    for _ in range(10):
        weights = stack.apply([0, 1])
    assert 0.5 < weights[1] < 0.65
    stack.reset()
    np.testing.assert_array_equal(stack.apply([1, 0]), [1, 0])
    with pytest.raises(ZSpaceError, match='shares'):
        TemporalStack([0.5], [0.5, 0.5])
    with pytest.raises(ZSpaceError, match='at least one'):
        TemporalStack([])


@given(view_lists, directions, st.floats(0.25, 8))
def test_view_weights_are_a_distribution_and_follow_the_views(views, focus, gamma):
    def profile(views):
        fusion = MultiViewFusion(views).with_focus_direction(focus)
        return fusion.with_alignment_gamma(gamma).view_bias_profile()

    weights = profile(views)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    order = list(range(len(views)))[::-1]
    np.testing.assert_allclose(profile([views[i] for i in order]), weights[order], atol=1e-12)


@given(view_lists, directions, st.floats(1e-3, 1e3))
def test_lengths_of_directions_and_scale_of_baselines_do_not_matter(views, focus, factor):
    views = [view.with_baseline_weight(1 + view.baseline_weight) for view in views]
    scaled = [
        ViewDescriptor(v.name, v.position, factor * v.forward, 1e3 * v.baseline_weight)
        for v in views
    ]
    one = MultiViewFusion(views).with_focus_direction(focus)
    other = MultiViewFusion(scaled).with_focus_direction(factor * np.array(focus))
    np.testing.assert_allclose(one.view_bias_profile(), other.view_bias_profile(), atol=1e-9)


def test_gamma_sharpens_and_the_minimum_keeps_a_share():
    views = [
        ViewDescriptor('front', (0, 0, 0), (0, 0, 1)),
        ViewDescriptor('side', (0, 0, 0), (1, 0, 1), 0.0),
    ]
    fusion = MultiViewFusion(views).with_focus_direction((0, 0, 1))
    equal = fusion.with_baseline_weights([1, 1])
    shares = [equal.with_alignment_gamma(g).view_bias_profile()[1] for g in (0.25, 1, 8)]
    assert shares == sorted(shares, reverse=True)
    minimums = [fusion.with_min_baseline(f).view_bias_profile()[1] for f in (0, 0.05, 1)]
    assert minimums == sorted(minimums)
    assert minimums[1] == pytest.approx(0.05 * 0.5**0.5 / (1 + 0.05 * 0.5**0.5))


def test_a_focus_point_gives_each_view_its_own_direction():
    views = [
        ViewDescriptor('left', (-1, 0, 0), (1, 0, 1)),
        ViewDescriptor('right', (1, 0, 0), (1, 0, 1)),
    ]
    weights = MultiViewFusion(views).with_focus_point((0, 0, 1)).view_bias_profile()
    assert weights[0] == pytest.approx(1, abs=2e-3)
    at_camera = MultiViewFusion(views).with_focus_point((-1, 0, 0)).view_bias_profile()
    assert at_camera[0] > at_camera[1]


@pytest.mark.parametrize(
    ('make', 'named'),
    [
        (lambda: MultiViewFusion([]), '1 to 256 views'),
        (lambda: ViewDescriptor('a', (0, 0, 0), (0, 0, 0)), 'forward of a has no direction'),
        (lambda: ViewDescriptor('a', (0, 0), (0, 0, 1)), 'position of a'),
        (lambda: ViewDescriptor('a', (0, 0, 0), (0, np.nan, 1)), 'NaN'),
        (lambda: ViewDescriptor('a', (0, 0, 0), (0, 0, 1), -1), 'baseline weight of a'),
        (lambda: _fusion().with_alignment_gamma(9), 'alignment gamma'),
        (lambda: _fusion().with_focus_direction((0, 0, 0)), 'focus direction'),
        (lambda: _fusion().with_baseline_weights([1, 2, 3]), '3 baseline weights for 2 views'),
        (lambda: _fusion().with_min_baseline(-1), 'minimum baseline'),
    ],
)
def test_invalid_views_are_named(make, named):
    with pytest.raises(ZSpaceError, match=named):
        make()


def _fusion():
    return MultiViewFusion(
        [ViewDescriptor('a', (0, 0, 0), (0, 0, 1)), ViewDescriptor('b', (0, 0, 0), (1, 0, 1))]
    )


def test_methods_of_a_fusion_return_copies():
    fusion = _fusion()
    before = fusion.view_bias_profile()
    fusion.with_alignment_gamma(8).with_baseline_weights([1, 0.1]).with_focus_point((1, 1, 1))
    np.testing.assert_array_equal(fusion.view_bias_profile(), before)


def test_projection_of_views_needs_one_slice_per_view():
    projector = VisionProjector(window=SpectralWindow.rectangular(), spread=2)
    with pytest.raises(ZSpaceError, match='3 slices does not match a fusion of 2 views'):
        projector.project_multi_view(
            _fusion(), ZSpaceVolume(np.zeros((3, 1, 1))), DifferentialResonance.uniform(3)
        )


def test_smoothed_hand_over_between_views_has_no_jump():
    projector = VisionProjector(window=SpectralWindow.rectangular(), spread=2)
    volume = ZSpaceVolume([[[0.0]], [[1.0]]])
    resonance, buffer = DifferentialResonance.uniform(2), TemporalResonanceBuffer(0.2)
    outputs = []
    for trust in itertools.chain([(1, 0.05)] * 10, [(0.05, 1)] * 40):
        fusion = _fusion().with_baseline_weights(trust).with_focus_direction((0.4, 0, 1))
        smooth = projector.project_multi_view_with_temporal(fusion, volume, resonance, buffer)
        raw = projector.project_multi_view(fusion, volume, resonance)
        outputs.append((raw[0, 0], smooth[0, 0]))
    raw, smooth = np.abs(np.diff(outputs, axis=0)).max(axis=0)
    assert raw > 0.8
    assert smooth < 0.2 * raw + 1e-6
    assert outputs[-1][1] == pytest.approx(outputs[-1][0], abs=1e-3)


def test_view_of_a_calibrated_camera():
    transform = np.eye(4)
    transform[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    transform[:3, 3] = (1, 2, 3)
    view = view_from_camera('cam0', transform)
    np.testing.assert_allclose(view.forward, (1, 0, 0))
    np.testing.assert_allclose(view.position, (1, 2, 3))
    k = [[100, 0, 49.5], [0, 100, 24.5], [0, 0, 1]]
    centered = view_from_camera('cam0', transform, k, (100, 50))
    np.testing.assert_allclose(centered.forward, (1, 0, 0))
    left = view_from_camera('cam0', transform, [[100, 0, 149.5], *k[1:]], (100, 50))
    np.testing.assert_allclose(left.forward, np.array([1, 1, 0]) / 2**0.5, atol=1e-9)
    with pytest.raises(ZSpaceError, match='not calibrated'):
        view_from_camera('cam0', transform, np.zeros((3, 3)), (100, 50))
    with pytest.raises(ZSpaceError, match='rigid'):
        view_from_camera('cam0', 2 * np.eye(4))


def test_views_follow_the_odometry():
    turn = np.eye(4)
    turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    turn[:3, 3] = (0, 0, 1)
    view = moved_view(ViewDescriptor('cam0', (1, 0, 0), (1, 0, 0), 0.5), turn)
    np.testing.assert_allclose(view.position, (0, 1, 1))
    np.testing.assert_allclose(view.forward, (0, 1, 0))
    assert view.baseline_weight == 0.5
