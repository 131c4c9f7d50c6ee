# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refinement of the words for an image, and learned halting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import HaltReason
from sage_perception.irp import learned_halting
from sage_perception.irp.discovery import available
from sage_perception.irp.language import UNKNOWN, LanguageIRP
from sage_perception.irp.learned_halting import LearnedHalting

WORDS = [f'word {i}' for i in range(40)]


class TextCodes:
    """Texts with orthogonal codes; counts the texts that it encodes."""

    def __init__(self):
        self.encoded = []

    def text(self, texts):
        self.encoded += texts
        return np.eye(48, dtype=np.float32)[[WORDS.index(text) for text in texts]]


def test_the_best_word_is_found_and_words_are_encoded_once():
    model = TextCodes()
    plugin = LanguageIRP(model, WORDS, chunk=4)
    codes = np.eye(48, dtype=np.float32)[[2, 39, 45]]
    outputs, telemetry = plugin.refine(codes)
    assert [output.text for output in outputs] == ['word 2', 'word 39', UNKNOWN]
    assert [each.trust for each in telemetry] == [1, 1, 0]
    plugin.refine(codes)
    assert model.encoded == WORDS


def test_a_small_budget_tries_common_words_only():
    model = TextCodes()
    plugin = LanguageIRP(model, WORDS, chunk=4)
    (output,), _ = plugin.refine(np.eye(48, dtype=np.float32)[[30]], budget_ms=1e-6)
    assert output.text == UNKNOWN
    assert model.encoded == WORDS[:4]


def test_no_words_are_an_error():
    with pytest.raises(ValueError, match='at least one'):
        LanguageIRP(TextCodes(), [])


def test_language_and_control_are_found_by_their_entry_points():
    points = available()
    if 'control' not in points:
        pytest.skip('the installed package is older than these entry points: run make build')
    assert points['language'].load() is LanguageIRP


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
