# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The reference vectors of specification 004."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'bench'))
import zspace_vectors

CASES = zspace_vectors.cases()


@pytest.mark.parametrize('case', CASES, ids=lambda case: case['name'])
def test_vector_is_reproduced(case):
    assert zspace_vectors.passes(case), zspace_vectors.evaluate(case)


def test_wrong_results_do_not_pass():
    case = {**CASES[1], 'output': (np.array(CASES[1]['output']) + 1e-5).tolist()}
    assert not zspace_vectors.passes(case)
