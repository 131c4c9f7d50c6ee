# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The words that the shipped audio model recognizes."""

from __future__ import annotations

from sage_perception.vision.color_names import COLORS

DIGITS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
NOUNS = ('ball', 'box', 'cube', 'cup', 'bottle', 'car', 'person', 'chair', 'dog', 'cat')
WORDS = (*DIGITS, *COLORS, *NOUNS)
UNKNOWN = 'unknown'
"""The class of all other words, of noises and of silence."""
LABELS = (*WORDS, UNKNOWN)
