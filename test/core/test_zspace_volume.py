# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Z-space volumes: statistics, resampling, diffusion, windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sage_perception.zspace import (
    InterpolationMethod,
    SpectralWindow,
    ZDiffuser,
    ZSpaceError,
    ZSpaceVolume,
)

values = st.floats(-1e6, 1e6, width=32)
shapes = st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))
volumes = shapes.flatmap(lambda shape: arrays(np.float32, shape, elements=values))
windows = st.sampled_from(
    [
        SpectralWindow.rectangular(),
        SpectralWindow.hann(),
        SpectralWindow.hamming(),
        SpectralWindow.blackman(),
        SpectralWindow.gaussian(0.3),
    ]
)


@given(windows, st.integers(1, 60))
def test_window_is_a_symmetric_distribution(window, depth):
    weights = window.weights(depth)
    assert weights.shape == (depth,)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-15)


@given(volumes)
def test_energy_is_squared_mean_plus_variance(array):
    profile = ZSpaceVolume(array).slice_profile()
    np.testing.assert_allclose(
        profile.energies, profile.means**2 + profile.stds**2, rtol=1e-9, atol=1e-12
    )
    assert ZSpaceVolume(array).total_energy() == pytest.approx(profile.energies.mean())


def test_deviation_survives_a_large_mean():
    volume = ZSpaceVolume([[[1e6, 1e6 + 1]]])
    assert volume.slice_profile().stds[0] == pytest.approx(0.5)


@given(volumes, st.floats(0, 1))
def test_accumulation_stays_between_both_volumes(array, alpha):
    volume = ZSpaceVolume(array)
    volume.accumulate(ZSpaceVolume(-array), alpha)
    bound = abs(array) * (1 + 1e-6)
    assert (abs(volume.values) <= bound).all()


def test_accumulation_converges_to_a_constant_input():
    volume, target = ZSpaceVolume(np.zeros((1, 2, 2))), ZSpaceVolume(np.full((1, 2, 2), 3))
    for _ in range(100):
        volume.accumulate(target, 0.2)
    np.testing.assert_allclose(volume.values, 3, rtol=1e-5)


@pytest.mark.parametrize('alpha', [-0.1, 1.1, float('nan'), '0.5', None, True])
def test_alpha_outside_the_unit_interval_is_an_error_and_changes_nothing(alpha):
    volume = ZSpaceVolume(np.ones((1, 2, 2)))
    with pytest.raises(ZSpaceError, match='alpha'):
        volume.accumulate(ZSpaceVolume(np.zeros((1, 2, 2))), alpha)
    assert (volume.values == 1).all()


def test_other_shapes_cannot_be_accumulated():
    volume = ZSpaceVolume(np.ones((1, 2, 2)))
    with pytest.raises(ZSpaceError, match=r'\(1, 2, 3\)'):
        volume.accumulate(ZSpaceVolume(np.zeros((1, 2, 3))), 0.5)


@pytest.mark.parametrize(
    ('bad', 'named'),
    [
        ([], 'shape'),
        (np.zeros((2, 2)), '3 dimensions'),
        (np.zeros((0, 2, 2)), 'shape'),
        ([[[np.nan]]], 'NaN'),
        ([[[np.inf]]], 'NaN or infinity'),
        ([[[1e30]]], 'scale it down'),
        ('volume', 'numbers'),
        ([[[1, 2]], [[1]]], 'numbers'),
        (np.broadcast_to(np.float32(0), (5000, 1, 1)), '4096 slices'),
        (np.broadcast_to(np.float32(0), (2, 9000, 9000)), 'values'),
    ],
)
def test_invalid_volumes_are_named(bad, named):
    with pytest.raises(ZSpaceError, match=named):
        ZSpaceVolume(bad)


def test_slices_of_another_shape_are_named():
    with pytest.raises(ZSpaceError, match=r'slice 1 .*\(1, 2\)'):
        ZSpaceVolume.from_slices([np.zeros((2, 2)), np.zeros((1, 2))])
    with pytest.raises(ZSpaceError, match='at least one'):
        ZSpaceVolume.from_slices([])
    with pytest.raises(ZSpaceError, match='slice 1 contains NaN'):
        ZSpaceVolume.from_slices([np.zeros((1, 1)), np.full((1, 1), np.nan)])


@given(volumes, st.sampled_from(InterpolationMethod))
def test_interpolation_keeps_the_slices(array, method):
    result = ZSpaceVolume(array).interpolate(method).values
    assert len(result) == 2 * len(array) - 1
    np.testing.assert_array_equal(result[::2], array)


def test_linear_and_cubic_interpolation_are_exact_on_a_line():
    line = np.arange(6.0)[:, None, None]
    linear, cubic = (
        ZSpaceVolume(line).interpolate(method).values.ravel()
        for method in (InterpolationMethod.LINEAR, InterpolationMethod.CUBIC)
    )
    np.testing.assert_allclose(linear, np.arange(0, 5.5, 0.5))
    # The first and last intervals have no second neighbor on one side.
    np.testing.assert_allclose(cubic[2:-2], np.arange(1, 4.5, 0.5))


@given(volumes, st.integers(1, 4))
def test_upscaling_keeps_corners_and_range(array, factor):
    result = ZSpaceVolume(array).upscale(factor).values
    assert result.shape == (len(array), *(factor * side for side in array.shape[1:]))
    slack = 1e-5 * max(abs(array).max(), 1e-3)
    assert result.min() >= array.min() - slack
    assert result.max() <= array.max() + slack
    ends = np.ix_(range(len(array)), [0, -1], [0, -1])
    if min(array.shape[1:]) > 1:
        np.testing.assert_allclose(result[ends], array[ends], atol=slack)


def test_results_beyond_the_limits_are_errors():
    volume = ZSpaceVolume(np.zeros((1, 1000, 1000)))
    with pytest.raises(ZSpaceError, match='exceeds'):
        volume.upscale(64)
    with pytest.raises(ZSpaceError, match='exceeds'):
        ZSpaceVolume(np.zeros((4096, 1, 1))).interpolate(InterpolationMethod.LINEAR)
    with pytest.raises(ZSpaceError, match='factor is 0'):
        volume.upscale(0)


@given(volumes, st.integers(0, 5), st.floats(-1, 2), st.booleans())
def test_diffusion_stays_in_the_range_of_its_input(array, iterations, rate, across):
    result = ZDiffuser(iterations, rate, across).diffuse(ZSpaceVolume(array)).values
    assert result.min() >= array.min()
    assert result.max() <= array.max()
    assert np.isfinite(result).all()


def test_diffusion_within_slices_does_not_leak_across_cameras():
    array = np.zeros((2, 5, 5))
    array[0, 2, 2] = 1
    mixed = ZDiffuser(3, 0.4).diffuse(ZSpaceVolume(array)).values
    apart = ZDiffuser(3, 0.4, across_slices=False).diffuse(ZSpaceVolume(array)).values
    assert mixed[1].max() > 0.05
    assert (apart[1] == 0).all()
    assert apart[0, 2, 1] > 0


def test_a_volume_without_neighbors_keeps_its_value():
    assert ZDiffuser(3, 0.5).diffuse(ZSpaceVolume([[[7]]])).values == 7
    pixels = ZSpaceVolume([[[7]], [[1]]])
    apart = ZDiffuser(3, 0.5, across_slices=False).diffuse(pixels)
    np.testing.assert_array_equal(apart.values, pixels.values)


@pytest.mark.parametrize(('iterations', 'rate'), [(-1, 0.5), (1.5, 0.5), (1, float('nan'))])
def test_invalid_diffusion_is_an_error(iterations, rate):
    with pytest.raises(ZSpaceError, match=r'iterations|rate'):
        ZDiffuser(iterations, rate)


def test_spectral_response_is_the_windowed_mean():
    volume = ZSpaceVolume(np.arange(12.0).reshape(3, 2, 2))
    response = volume.spectral_response(SpectralWindow.rectangular())
    np.testing.assert_allclose(response, np.array([1.5, 5.5, 9.5]) / 3)


def test_unknown_windows_are_errors():
    with pytest.raises(ZSpaceError, match="'kaiser' is unknown"):
        SpectralWindow('kaiser')
    with pytest.raises(ZSpaceError, match='sigma'):
        SpectralWindow.gaussian(0)
    with pytest.raises(ZSpaceError, match='depth is 0'):
        SpectralWindow.hann().weights(0)
