# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The puzzle grid: round trips of all modalities, alone and fused, and invalid input."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.puzzle import space
from sage_perception.puzzle.drawing import draw_puzzle


def modalities(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    sound = rng.random((64, 90)).astype(np.float32)
    text = rng.normal(size=384)
    body = rng.uniform(-1.5, 1.5, 32).astype(np.float32)
    return image, sound, text / np.linalg.norm(text), body, rng.random(32) < 0.7


@given(st.integers(0, 2**32 - 1))
def test_each_modality_is_read_from_the_fused_puzzle_as_from_its_own(seed):
    image, sound, text, body, known = modalities(seed)
    fused = space.fuse_max(
        [
            space.write_vision(image, 0.9),
            space.write_sound(sound, 0.8),
            space.write_text(text, 0.7),
            space.write_body(body, known, 0.6),
        ]
    )
    assert fused.values.min() >= 0
    assert fused.values.max() <= 1
    small = cv2.resize(image, (30, 30), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(space.read_vision(fused), small)
    expected = cv2.resize(sound, (30, 24), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(space.read_sound(fused), expected, atol=1e-5)
    np.testing.assert_allclose(space.read_text(fused), text, atol=1e-6)
    found, sure = space.read_body(fused)
    np.testing.assert_allclose(found, body, atol=1e-5)
    np.testing.assert_array_equal(sure, known)


def test_a_maximum_of_signed_values_would_lose_the_negative_ones():
    text = modalities(0)[2]
    fused = space.fuse_max([space.write_text(text), space.empty()])
    np.testing.assert_allclose(space.read_text(fused), text, atol=1e-6)
    assert np.abs(np.maximum(text, 0) - text).max() > 0.05


def test_trust_and_doubt_are_written_where_a_modality_is():
    puzzle = space.write_sound(modalities(0)[1], trust=0.25)
    assert (puzzle.values[space.TRUST, :24] == 0.25).all()
    assert (puzzle.values[space.DOUBT, :24] == 0.75).all()
    assert not puzzle.mask[:, 24:].any()
    assert not puzzle.mask[space.COLOR].any()


def test_nothing_fused_is_empty_and_reads_as_unknown():
    puzzle = space.fuse_max([])
    assert not puzzle.mask.any()
    assert not space.read_text(puzzle).any()
    assert not space.read_body(puzzle)[1].any()


@given(st.integers(2, 32), st.integers(0, 2**32 - 1))
def test_quantization_has_so_many_levels_and_half_a_step_of_error(levels, seed):
    puzzle = space.write_vision(modalities(seed)[0])
    found = space.quantize(puzzle, levels)
    assert len(np.unique(found.values)) <= levels
    assert np.abs(found.values - puzzle.values).max() <= 0.5 / (levels - 1) + 1e-6


@pytest.mark.parametrize(
    ('write', 'argument', 'reason'),
    [
        (space.write_vision, np.zeros((4, 4)), 'an image must be uint8'),
        (space.write_sound, np.zeros(3), 'must be .bands, frames.'),
        (space.write_text, np.zeros(3), 'must be .384.'),
        (space.write_body, np.zeros(3), 'must be .32.'),
    ],
)
def test_other_shapes_are_errors(write, argument, reason):
    with pytest.raises(ValueError, match=reason):
        write(argument)


def test_values_outside_the_range_are_errors():
    values = np.zeros(space.SHAPE, np.float32)
    values[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r'must be in \[0, 1\]'):
        space.Puzzle(values, values > 0)
    with pytest.raises(ValueError, match=r'trust is 1\.5'):
        space.write_text(np.zeros(384), trust=1.5)


def test_the_drawing_shows_all_channels_and_marks_what_is_empty():
    image, sound, text, body, _ = modalities(1)
    one = draw_puzzle(space.write_vision(image))
    assert one.shape == (258, 960, 3)
    assert one.dtype == np.uint8
    assert (one[20:, 242:470] == 40).all()
    every = draw_puzzle(
        space.fuse_max([space.write_sound(sound), space.write_text(text), space.write_body(body)])
    )
    assert every[20:, 250:].std() > 10
