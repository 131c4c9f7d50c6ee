# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""NumPy archives that keep the result of a computation."""

import numpy as np
import pytest

from sage_perception.core.npz_file import read_npz, read_or_compute, write_npz


class Computation:
    """Returns two arrays and counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return np.arange(3), np.full((2, 2), self.calls)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'new' / 'kept.npz'


@pytest.mark.parametrize('compressed', [False, True])
def test_an_archive_is_read_as_written(path, compressed):
    written = {'a': np.arange(5.0), 'text': np.array(['x', 'yz'])}
    write_npz(path, written, compressed)
    read = read_npz(path)
    assert read.keys() == written.keys()
    for name, array in written.items():
        np.testing.assert_array_equal(read[name], array)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_arrays_are_computed_once(path):
    compute = Computation()
    for _ in range(2):
        steps, values = read_or_compute(path, ('steps', 'values'), compute)
        np.testing.assert_array_equal(steps, np.arange(3))
        np.testing.assert_array_equal(values, np.ones((2, 2)))
    assert compute.calls == 1


@pytest.mark.parametrize('fault', ['cut', 'no archive', 'another name', 'not valid', 'too large'])
def test_a_file_that_is_not_the_result_is_computed_again(path, fault):
    compute = Computation()
    read_or_compute(path, ('steps', 'values'), compute)
    names, is_valid, max_bytes = ('steps', 'values'), lambda _: True, 1 << 20
    if fault == 'cut':
        path.write_bytes(path.read_bytes()[:-40])
    elif fault == 'no archive':
        path.write_text('steps, values')
    elif fault == 'another name':
        names = ('steps', 'count')
    elif fault == 'not valid':
        is_valid = lambda arrays: arrays[1][0, 0] == 2  # noqa: E731
    else:
        max_bytes = 10
    _, values = read_or_compute(path, names, compute, is_valid, max_bytes)
    assert compute.calls == 2
    assert values[0, 0] == 2
    np.testing.assert_array_equal(read_npz(path)[names[1]], values)


def test_a_computation_that_fails_leaves_no_file(path):
    def compute():
        raise ValueError('no data')

    with pytest.raises(ValueError, match='no data'):
        read_or_compute(path, ('steps',), compute)
    assert not path.exists()
