# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Summaries, baselines and their comparison."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.regression.baseline import (
    Baseline,
    BaselineError,
    baseline_path,
    read_baseline,
    write_baseline,
)
from sage_perception.regression.compare import compare, worst
from sage_perception.regression.summary import Accumulator, Summary, projected
from sage_perception.regression.timebase import Timebase
from sage_perception.regression.tolerances import Tolerances

SECOND = 10**9


def summary_of(seconds, stream='cam0/crops'):
    summary = Summary({'bag': 'b', 'model': 'm', 'parameters': 'p'})
    for second, cells in seconds.items():
        summary.set_second(stream, second, cells)
    return summary


def cells(frames=30, x=100.0, latent=(3.0, 4.0)):
    track = {'frames': frames, 'x': x, 'latent': list(latent), 'trust': 0.5}
    return {'': {'frames': frames}, '7': track}


def test_counts_are_sums_and_values_are_means():
    values = Accumulator(Summary())
    for index in range(10):
        values.at('s', 0.1 * index).count('frames')
        values.at('s', 0.1 * index, 3).add('x', float(index))
        values.at('s', 0.1 * index, 3).add('latent', np.array([index, -index]))
    values.at('s', 0.5, 3).add('x', math.nan)
    summary = values.finish()
    assert summary.second('s', 0) == {
        '': {'frames': 10},
        '3': {'x': 4.5, 'latent': [4.5, -4.5]},
    }
    assert summary.series('s', 'frames') == ([0], [10])
    assert summary.tracks('s') == ['3']


def test_events_may_be_out_of_order_by_some_seconds():
    values = Accumulator(Summary())
    for time_s in (0.0, 2.0, 1.0, 3.0, 2.0, 9.0):
        values.at('s', time_s).count('frames')
    assert values.finish().series('s', 'frames') == ([0, 1, 2, 3, 9], [1, 1, 2, 1, 1])


@given(st.integers(1, 300), st.integers(0, 2**31))
def test_projections_preserve_the_order_of_magnitude_of_a_distance(dim, seed):
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal(dim)
    assert np.allclose(projected(latent), projected(latent.astype(np.float32)), atol=1e-4)
    assert np.linalg.norm(projected(latent)) <= np.sqrt(8) * np.linalg.norm(latent) + 1e-9


def test_time_goes_on_after_a_backward_jump():
    base = Timebase()
    stamps = [100, 101, 102, 40, 41, 40.8, 43]
    times = [base.elapsed_s('a', round(t * SECOND)) for t in stamps]
    assert times == pytest.approx([0, 1, 2, 2, 3, 2.8, 5])
    assert base.elapsed_s('b', 103 * SECOND) == pytest.approx(3)


def test_equal_summaries_have_no_differences():
    assert compare(summary_of({0: cells()}), summary_of({0: cells()})) == []


@pytest.mark.parametrize(
    ('changed', 'what'),
    [
        (cells(x=101.0), 'x'),
        (cells(latent=(3.0, 4.2)), 'latent'),
        (cells(latent=(3.0, 4.0, 0.0)), 'latent'),
        (cells(frames=28), 'frames'),
        ({'': {'frames': 30}}, 'track'),
        ({**cells(), '9': cells()['7']}, 'track'),
        ({**cells(), '': {'frames': 30, 'fault.covered': 4}}, 'fault.covered'),
    ],
)
def test_difference_beyond_its_tolerance_is_named(changed, what):
    found = compare(summary_of({4: cells(), 5: changed}), summary_of({4: cells(), 5: cells()}))
    assert {(each.stream, each.second) for each in found} == {('cam0/crops', 5)}
    assert what in {each.what for each in found}
    assert f'second 5: {what} is' in '\n'.join(map(str, found))


@pytest.mark.parametrize(
    'changed',
    [
        cells(x=100.4),
        cells(latent=(3.0, 4.05)),
        cells(frames=29),
        {**cells(), '9': {**cells()['7'], 'frames': 2}},
    ],
)
def test_difference_within_the_tolerances_is_none(changed):
    assert compare(summary_of({0: changed}), summary_of({0: cells()})) == []


def test_missing_stream_is_the_worst_difference_and_symmetric():
    both = summary_of({0: cells(), 1: cells()})
    both.set_second('cam1/crops', 0, cells())
    one = summary_of({0: cells(x=90.0), 1: cells()})
    found = compare(one, both)
    assert (found[0].stream, found[0].what, found[0].value) == ('cam1/crops', 'stream', None)
    assert compare(both, one)[0].baseline is None
    assert [each.what for each in worst(found)] == ['stream', 'x']


def test_worst_lists_each_value_of_a_track_once():
    seconds = range(9)
    found = compare(
        summary_of({s: cells(x=101.0 + s, latent=(4.0, 4.0)) for s in seconds}),
        summary_of({s: cells() for s in seconds}),
    )
    assert len(found) == 18
    assert [(each.what, each.second) for each in worst(found)] == [('x', 8), ('latent', 0)]


HALF = st.floats(-1e3, 1e3, width=16)


@given(HALF.map(abs), HALF, HALF)
def test_difference_is_found_exactly_beyond_the_tolerance(limit, ours, theirs):
    found = compare(
        summary_of({0: cells(x=ours)}), summary_of({0: cells(x=theirs)}), Tolerances(pixels=limit)
    )
    assert bool(found) == (abs(ours - theirs) > limit)


@pytest.mark.parametrize('suffix', ['', '.gz'])
def test_baseline_is_read_as_written(tmp_path, suffix):
    path = tmp_path / f'bag.baseline.json{suffix}'
    baseline = Baseline(summary_of({0: cells(), 10: cells()}), Tolerances(pixels=2.0))
    baseline.summary.settings['/arbiter'] = {'agreement_threshold': 0.6}
    write_baseline(path, baseline)
    assert read_baseline(path) == baseline
    before = path.read_bytes()
    write_baseline(path, baseline)
    assert path.read_bytes() == before
    if not suffix:
        lines = path.read_text().splitlines()
        assert sum(line.startswith(('   "0":', '   "10":')) for line in lines) == 2


def test_path_of_a_baseline_is_beside_the_bag(tmp_path):
    (tmp_path / 'walk').mkdir()
    assert baseline_path(tmp_path / 'walk') == tmp_path / 'walk.baseline.json'
    assert baseline_path(tmp_path / 'walk.mcap.zstd') == tmp_path / 'walk.baseline.json'


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'', 'is damaged'),
        (b'{}', 'is not a baseline'),
        (b'[' * 100_000, 'is damaged'),
        (b'{"format": "sage baseline", "version": 9}', 'has version 9'),
        (b'{"format": "sage baseline", "version": 1}', 'is damaged'),
        (b'\xff\xfe', 'is damaged'),
    ],
)
def test_damaged_baseline_is_one_line(tmp_path, data, message):
    path = tmp_path / 'b.baseline.json'
    path.write_bytes(data)
    with pytest.raises(BaselineError, match=message) as error:
        read_baseline(path)
    assert '\n' not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    'value', ['"x"', 'true', '[1, null]', '[1]', 'NaN', '1e999', '9' * 400, '{"a": 1}']
)
def test_baseline_with_a_wrong_value_is_damaged(tmp_path, value):
    path = tmp_path / 'b.baseline.json'
    write_baseline(path, Baseline(summary_of({0: {'': {'frames': 77}}})))
    path.write_text(path.read_text().replace('77', value))
    with pytest.raises(BaselineError, match='is damaged'):
        read_baseline(path)


@pytest.mark.parametrize('value', ['-3', '1e300', '9' * 300])
def test_implausible_counts_of_a_baseline_are_differences(tmp_path, value):
    path = tmp_path / 'b.baseline.json'
    write_baseline(path, Baseline(summary_of({0: {'': {'frames': 77}, '1': {'frames': 77}}})))
    path.write_text(path.read_text().replace('77', value))
    found = compare(summary_of({0: cells()}), read_baseline(path).summary)
    assert ('frames', '') in {(each.what, each.track) for each in found}
    assert all(str(each) for each in found)


@pytest.mark.parametrize('value', ['3', '""', '{}'])
def test_baseline_with_a_latent_that_is_no_list_is_damaged(tmp_path, value):
    path = tmp_path / 'b.baseline.json'
    write_baseline(path, Baseline(summary_of({0: cells(latent=(77.0,))})))
    path.write_text(path.read_text().replace('[77.0]', value))
    with pytest.raises(BaselineError, match=r'is damaged .latent must be a list'):
        read_baseline(path)


def test_missing_baseline_is_named(tmp_path):
    with pytest.raises(BaselineError, match='does not exist: write it with "sage regress'):
        read_baseline(tmp_path / 'absent.json')


def test_difference_is_json():
    [difference] = compare(summary_of({0: cells(x=90.0)}), summary_of({0: cells()}))
    assert json.loads(json.dumps(difference.as_dict())) == {
        'stream': 'cam0/crops',
        'track': '7',
        'second': 0,
        'what': 'x',
        'value': 90.0,
        'baseline': 100.0,
    }
