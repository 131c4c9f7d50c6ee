# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slip schedules of residual networks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.models.backbones import SkipSlipSchedule

depth_lists = st.lists(st.integers(1, 12), min_size=1, max_size=5)


@given(depth_lists, st.floats(0, 1), st.floats(1, 4), st.floats(0.1, 8), st.booleans())
def test_factors_rise_from_start_to_end(depths, start, end, power, by_stage):
    stages = SkipSlipSchedule(start, end, power, by_stage).preview(depths)
    assert [len(stage) for stage in stages] == depths
    for factors in stages if by_stage else [np.concatenate(stages)]:
        assert (np.diff(factors) >= -1e-12).all()
        assert factors[-1] == pytest.approx(end)
        if len(factors) > 1:
            assert factors[0] == pytest.approx(start)


def test_a_blend_of_one_is_the_plain_network():
    schedule = SkipSlipSchedule.linear(0.2, 1)
    np.testing.assert_array_equal(schedule.preview_with_identity_blend([3], 1)[0], 1)
    np.testing.assert_array_equal(
        schedule.preview_with_identity_blend([3], 0)[0], schedule.preview([3])[0]
    )


@pytest.mark.parametrize(
    ('make', 'named'),
    [
        (lambda: SkipSlipSchedule(-1, 1), 'start'),
        (lambda: SkipSlipSchedule(0, float('nan')), 'end'),
        (lambda: SkipSlipSchedule(0, 1, 0), 'power'),
        (lambda: SkipSlipSchedule(0, 1).preview([]), 'depths'),
        (lambda: SkipSlipSchedule(0, 1).preview([3, 0]), 'depths'),
        (lambda: SkipSlipSchedule(0, 1).preview_with_identity_blend([3], 2), 'blend'),
    ],
)
def test_invalid_schedules_are_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()
