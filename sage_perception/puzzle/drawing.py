# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A puzzle as an image, for people."""

from __future__ import annotations

import cv2
import numpy as np

from sage_perception.puzzle.space import COLOR, DOUBT, DYNAMICS, MEANING, SIDE, TRUST, Puzzle

CELL = 8
"""Side of a cell in the image, pixels."""
TITLES = ('color 0-2', 'dynamics 3-5', 'meaning 6-7', 'trust 8-9')
_HEADER = 18


def draw_puzzle(puzzle: Puzzle) -> np.ndarray:
    """Return the four groups of channels side by side, uint8 RGB `[258, 960, 3]`.

    Cells that were not written are dark gray.
    """
    values = puzzle.values
    groups = (
        (values[COLOR], puzzle.mask[COLOR].any(0)),
        (values[DYNAMICS], puzzle.mask[DYNAMICS].any(0)),
        (_three(*values[MEANING]), puzzle.mask[MEANING].any(0)),
        (_three(values[DOUBT], values[TRUST]), puzzle.mask[TRUST]),
    )
    panels = [_panel(*group, title) for group, title in zip(groups, TITLES, strict=True)]
    return np.hstack(panels)


def _three(red: np.ndarray, green: np.ndarray) -> np.ndarray:
    return np.stack((red, green, np.zeros_like(red)))


def _panel(channels: np.ndarray, written: np.ndarray, title: str) -> np.ndarray:
    small = (channels.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
    small[~written] = 40
    side = SIDE * CELL
    panel = np.zeros((side + _HEADER, side, 3), np.uint8)
    panel[_HEADER:] = cv2.resize(small, (side, side), interpolation=cv2.INTER_NEAREST)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(panel, title, (4, 13), font, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return panel
