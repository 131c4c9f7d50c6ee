# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The puzzle: a grid of 30×30 cells and 10 channels that all modalities write to and read from.

The channels have the meanings of the specification (§3.3), and all values are in [0, 1], because
its fusion by the maximum would destroy negative ones: a signed quantity has one channel for each
sign, and 0 means "nothing here".

| channels | content | written by |
| --- | --- | --- |
| 0–2 | color | vision: the image, scaled to the grid |
| 3–5 | dynamics: level, rise, fall | sound in rows 0–23 (frequency up, time to the right); |
|     | dynamics: positive, negative, known | the body in rows 24–29 |
| 6–7 | meaning: positive, negative | text: the embedding, in rows 0–12 |
| 8–9 | trust, doubt | all, in the cells that they write to |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

SIDE, CHANNELS = 30, 10
SHAPE = (CHANNELS, SIDE, SIDE)
COLOR, DYNAMICS, MEANING = slice(0, 3), slice(3, 6), slice(6, 8)
TRUST, DOUBT = 8, 9
SOUND_ROWS, BODY_ROWS = slice(0, 24), slice(24, 30)
TEXT_DIM, BODY_DIM = 384, 32
TEXT_SCALE = 4.0
"""Factor of a text embedding; values above 0.25, which are rare, are clipped."""
BODY_SCALE = 1 / 1.5
"""Factor of a latent of the body, whose values are within ±1.5."""
_BAND = 3
"""Rows of a value of the body."""
_PER_BAND = BODY_DIM * _BAND // 6


@dataclass(frozen=True, eq=False)
class Puzzle:
    """A grid.

    Attributes:
        values: float32 `[10, 30, 30]` in [0, 1].
        mask: bool `[10, 30, 30]`, the cells that were written.
    """

    values: np.ndarray
    mask: np.ndarray

    def __post_init__(self) -> None:
        if self.values.shape != SHAPE or self.mask.shape != SHAPE:
            raise ValueError(f'a puzzle has the shape {SHAPE}, not {self.values.shape}')
        if not np.isfinite(self.values).all() or self.values.min() < 0 or self.values.max() > 1:
            raise ValueError('the values of a puzzle must be in [0, 1]')


def empty() -> Puzzle:
    """Return a puzzle that nothing was written to."""
    return Puzzle(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool))


def write_vision(image: np.ndarray, trust: float = 1.0) -> Puzzle:
    """Return the puzzle of an image, uint8 RGB `[H, W, 3]`."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'an image must be uint8 [H, W, 3], not {image.dtype} {image.shape}')
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return _written(COLOR, slice(0, SIDE), small.transpose(2, 0, 1) / 255, trust)


def write_objects(crops: np.ndarray, positions: np.ndarray, trust: float = 1.0) -> Puzzle:
    """Return the puzzle of the crops of a frame, uint8 RGB `[N, S, S, 3]`, on black.

    `positions` are those of `tokens.positions`, `[N, 4]`; a crop is the square around its region.
    The first crop is in front.
    """
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    for crop, (u, v, width, height) in zip(crops[::-1], positions[::-1], strict=True):
        side = float(np.clip(max(width, height), 1 / SIDE, 2)) * SIDE
        scale = side / crop.shape[0]
        corner = (np.array([u, v], float).clip(-2, 2) + 1) / 2 * SIDE - side / 2
        affine = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
        smaller = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        shift = affine.copy()
        shift[:, :2] = np.diag(side / np.array(smaller.shape[1::-1]))
        cv2.warpAffine(
            smaller, shift, (SIDE, SIDE), dst=image, flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_TRANSPARENT,
        )  # fmt: skip
    return write_vision(image, trust)


def write_scene(
    crops: np.ndarray,
    positions: np.ndarray,
    text: np.ndarray | None = None,
    body: tuple[np.ndarray, np.ndarray | None] | None = None,
    trust: float = 1.0,
) -> Puzzle:
    """Return the puzzle of the crops of a frame, a text and the state of the body.

    The arguments are those of `write_objects`, `write_text` and `write_body`; None: absent.
    `trust` is that of the crops.
    """
    parts = [write_objects(crops, positions, trust)]
    if text is not None:
        parts.append(write_text(text))
    if body is not None:
        parts.append(write_body(*body))
    return fuse_max(parts)


def read_vision(puzzle: Puzzle) -> np.ndarray:
    """Return the image of a puzzle, uint8 RGB `[30, 30, 3]`."""
    return (puzzle.values[COLOR].transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)


def write_sound(spectrogram: np.ndarray, trust: float = 1.0) -> Puzzle:
    """Return the puzzle of a spectrogram `[bands, frames]` in [0, 1], low frequencies first."""
    levels = np.asarray(spectrogram, np.float32)
    if levels.ndim != 2 or not levels.size:
        raise ValueError(f'a spectrogram must be [bands, frames], not {levels.shape}')
    rows = SOUND_ROWS.stop - SOUND_ROWS.start
    small = cv2.resize(levels.clip(0, 1)[::-1], (SIDE, rows), interpolation=cv2.INTER_AREA)
    change = np.diff(small, axis=1, prepend=small[:, :1])
    return _written(
        DYNAMICS, SOUND_ROWS, np.stack((small, change.clip(min=0), -change.clip(max=0))), trust
    )


def read_sound(puzzle: Puzzle) -> np.ndarray:
    """Return the spectrogram of a puzzle, float32 `[24, 30]` in [0, 1], low frequencies first."""
    levels: np.ndarray = puzzle.values[DYNAMICS.start, SOUND_ROWS][::-1]
    return levels.copy()


def write_text(embedding: np.ndarray, trust: float = 1.0) -> Puzzle:
    """Return the puzzle of a text embedding, float `[384]`."""
    if embedding.shape != (TEXT_DIM,):
        raise ValueError(f'a text embedding must be [{TEXT_DIM}], not {embedding.shape}')
    rows = -(-TEXT_DIM // SIDE)
    cells = np.zeros((2, rows * SIDE), np.float32)
    scaled = np.asarray(embedding, np.float32) * TEXT_SCALE
    cells[:, :TEXT_DIM] = scaled.clip(0, 1), (-scaled).clip(0, 1)
    return _written(MEANING, slice(0, rows), cells.reshape(2, rows, SIDE), trust)


def read_text(puzzle: Puzzle) -> np.ndarray:
    """Return the text embedding of a puzzle, float32 `[384]`; zeros if it has none."""
    positive, negative = puzzle.values[MEANING].reshape(2, -1)[:, :TEXT_DIM]
    found: np.ndarray = (positive - negative) / np.float32(TEXT_SCALE)
    return found


def write_body(latent: np.ndarray, known: np.ndarray | None = None, trust: float = 1.0) -> Puzzle:
    """Return the puzzle of a latent of the body `[32]`; `known` has the measured dimensions."""
    if latent.shape != (BODY_DIM,):
        raise ValueError(f'a latent of the body must be [{BODY_DIM}], not {latent.shape}')
    scaled = np.asarray(latent, np.float32) * np.float32(BODY_SCALE)
    sure = np.ones(BODY_DIM) if known is None else np.asarray(known, float)
    parts = np.stack((scaled.clip(0, 1), (-scaled).clip(0, 1), sure))
    cells = np.zeros((3, 2, _BAND, SIDE), np.float32)
    cells[..., :_PER_BAND] = parts.reshape(3, 2, 1, _PER_BAND)
    return _written(DYNAMICS, BODY_ROWS, cells.reshape(3, 2 * _BAND, SIDE), trust)


def read_body(puzzle: Puzzle) -> tuple[np.ndarray, np.ndarray]:
    """Return the latent of the body of a puzzle, float32 `[32]`, and which values are known."""
    cells = puzzle.values[DYNAMICS, BODY_ROWS].reshape(3, 2, _BAND, SIDE)[..., :_PER_BAND]
    positive, negative, sure = cells.mean(2).reshape(3, BODY_DIM)
    return (positive - negative) / np.float32(BODY_SCALE), sure > 0.5


def fuse_max(puzzles: Sequence[Puzzle]) -> Puzzle:
    """Return the largest value of each cell (§5.4); the empty puzzle for none."""
    if not puzzles:
        return empty()
    return Puzzle(
        np.maximum.reduce([puzzle.values for puzzle in puzzles]),
        np.logical_or.reduce([puzzle.mask for puzzle in puzzles]),
    )


def quantize(puzzle: Puzzle, levels: int) -> Puzzle:
    """Return a puzzle whose values are rounded to `levels` equal steps; ARC puzzles have ten."""
    if levels < 2:
        raise ValueError(f'levels is {levels}, it must be at least 2')
    steps = np.round(puzzle.values * (levels - 1)) / np.float32(levels - 1)
    return Puzzle(steps.astype(np.float32), puzzle.mask)


def _written(channels: slice, rows: slice, values: np.ndarray, trust: float) -> Puzzle:
    if not 0 <= trust <= 1:
        raise ValueError(f'trust is {trust}, it must be in [0, 1]')
    puzzle = empty()
    puzzle.values[channels, rows] = values
    puzzle.mask[channels, rows] = True
    puzzle.values[TRUST, rows], puzzle.values[DOUBT, rows] = trust, 1 - trust
    puzzle.mask[TRUST : DOUBT + 1, rows] = True
    return puzzle
