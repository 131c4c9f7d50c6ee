# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The golden bags against their baselines in `test/data/bags/golden`.

After an intended change run `make baselines`, and commit the files alone, with the printed
differences.
"""

import pytest
from golden import make_golden_bags

from sage_perception.regression.regress import regress


@pytest.mark.parametrize('name', make_golden_bags.BAGS)
def test_replay_equals_the_baseline(name, golden):
    bag = golden(name)
    verdict = regress(
        bag,
        baseline=make_golden_bags.BASELINES / f'{name}.baseline.json',
        overrides=make_golden_bags.parameters_of(bag),
    )
    assert verdict.passed, verdict.report
