# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Refinement of the words for an image."""

import numpy as np
import pytest

from sage_perception.irp.discovery import available
from sage_perception.irp.language import UNKNOWN, LanguageIRP

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
