# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The halting criterion that bench/translation.py compares with the default one."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import HaltReason

sys.path.insert(0, str(Path(__file__).parents[2] / 'bench'))

from translation_parts import learned_halting
from translation_parts.learned_halting import LearnedHalting


@given(st.floats(0.2, 0.8), st.floats(1e-4, 1e-2))
def test_halting_learned_on_geometric_gains_stops_when_the_next_one_is_too_small(ratio, min_gain):
    energies = [1 + ratio**i for i in range(40)]
    coefficients = learned_halting.fit([energies[:15]])
    halting = LearnedHalting(coefficients=coefficients, min_gain=min_gain)
    stop = next(i for i in range(3, 41) if halting(energies[:i]))
    assert halting(energies[:stop]) is HaltReason.CONVERGED
    next_gain = (energies[stop - 1] - energies[stop]) / energies[0]
    assert next_gain < min_gain * 1.6
    if stop > 3:
        assert (energies[stop - 2] - energies[stop - 1]) / energies[0] > min_gain * 0.6


def test_learned_halting_keeps_the_other_reasons():
    assert LearnedHalting()([1.0, 0.5, float('nan')]) is HaltReason.NOT_FINITE
    with pytest.raises(ValueError, match='nothing can be fitted'):
        learned_halting.fit([[1.0, 0.5]])
