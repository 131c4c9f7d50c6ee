# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slots of hidden objects keep their latents, move on, and start over after a while."""

import numpy as np
import pytest

from sage_perception.slots.hidden import HISTORY, HiddenSlots, constant_velocity, last_seen

SIDE, DRIFTED = 20, 9.0
GRAY, RED = 0.5, (0.9, 0.1, 0.1)


def a_track(frames=8):
    """Return slots `[1, T, 2, 4]` whose first number grows by .1 for slot 0, and falls for 1."""
    steps = np.arange(frames)[None, :, None] * np.array([0.1, -0.05])
    slots = np.zeros((1, frames, 2, 4), np.float32)
    slots[..., 0], slots[..., 2] = steps, (1.0, 2.0)
    return slots


def test_a_hidden_slot_is_repeated_or_moved_on_and_others_are_kept():
    slots, hidden = a_track(), np.zeros((1, 8, 2), bool)
    hidden[:, 5:, 0] = True
    shown = np.where(hidden[..., None], DRIFTED, slots).astype(np.float32)
    np.testing.assert_allclose(last_seen(shown, hidden)[0, 0], slots[0, 4, 0])
    moved = constant_velocity(shown, hidden)
    np.testing.assert_allclose(moved, slots[:, -1], atol=1e-6)


def test_a_slot_that_was_seen_once_does_not_move_and_none_leaves_the_image():
    slots, hidden = a_track(), np.zeros((1, 8, 2), bool)
    hidden[:, 1:, 0] = True
    np.testing.assert_array_equal(constant_velocity(slots, hidden)[0, 0], slots[0, 0, 0])
    hidden[:, 1:3, 0] = False
    slots[..., 0] *= 5
    assert constant_velocity(slots, hidden)[0, 0, 0] == 1


def a_frame(left, covered=0.0):
    """Return slots `[1, 2, 3]`, masks and image of a red square at `left`; slot 1 holds it.

    The part of the square beyond the column `covered` is hidden by gray.
    """
    inside = np.zeros((SIDE, SIDE), bool)
    inside[6:12, max(left, 0) : max(min(left + 6, int(covered)), 0)] = True
    masks = np.stack((~inside, inside)).astype(np.float32)[None]
    x = np.where(inside, np.array(RED)[:, None, None], GRAY)[None].astype(np.float32)
    position = 2 * (left + 2.5) / (SIDE - 1) - 1
    drifted = DRIFTED if not inside.any() else position
    return np.array([[[0, 0, 1], [drifted, 0, 2]]], np.float32), masks, x


def test_an_object_behind_an_edge_moves_on_and_comes_back():
    hidden = HiddenSlots(constant_velocity)
    for left in range(8):
        slots, masks, x = a_frame(left, covered=SIDE)
        np.testing.assert_array_equal(hidden.update(slots, masks, x), slots)
    for left in range(8, 14):
        true_position = a_frame(left, covered=SIDE)[0]
        slots, masks, x = a_frame(left, covered=8)
        assert slots[0, 1, 0] == DRIFTED
        np.testing.assert_allclose(hidden.update(slots, masks, x), true_position, atol=1e-5)
    slots, masks, x = a_frame(14, covered=SIDE)
    np.testing.assert_array_equal(hidden.update(slots, masks, x), slots)


def test_a_slot_that_drifts_to_another_color_counts_as_hidden_until_it_is_forgotten():
    hidden = HiddenSlots(last_seen)
    slots, masks, x = a_frame(4, covered=SIDE)
    hidden.update(slots, masks, x)
    drifted = slots + np.array([[[0], [0.4]]], np.float32)
    gray = np.full_like(x, GRAY)
    for _ in range(HISTORY - 1):
        np.testing.assert_array_equal(hidden.update(drifted, masks, gray)[0, 1], slots[0, 1])
    later = [hidden.update(drifted, masks, gray)[0, 1] for _ in range(3)]
    np.testing.assert_array_equal(later[-1], drifted[0, 1])


@pytest.mark.parametrize('predict', [last_seen, constant_velocity])
def test_nothing_is_predicted_while_all_is_visible(predict):
    hidden = HiddenSlots(predict)
    slots, masks, x = a_frame(4, covered=SIDE)
    assert hidden.update(slots, masks, x) is slots
