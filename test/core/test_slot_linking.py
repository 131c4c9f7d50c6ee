# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slots of single frames linked over time: one slot stays with one object."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.models.mask_refinement import MaskRefinement
from sage_perception.models.slot_encoder import DecodedSlots, Slots
from sage_perception.slots.linking import HISTORY, SlotLinker
from sage_perception.slots.video import segment_frames

SIDE, SLOTS, SQUARE = 48, 5, 8
GRAY, GREEN, RED, BLUE = (0.5, 0.5, 0.5), (0.1, 0.7, 0.2), (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)
COLORS = np.array([GRAY, GREEN, RED, BLUE], np.float32)
BAR, FIRST, SECOND = 1, 2, 3
BAR_COLUMNS = slice(15, 36)
REFINEMENT = MaskRefinement(rounds=4, noise=0.1, penalty=20, tolerance=0.08, affine=True)


def a_frame(first=None, second=None, bar=False):
    """Return the label of each pixel: a red and a blue square at left, top, behind a green bar."""
    labels = np.zeros((SIDE, SIDE), int)
    for label, place in ((FIRST, first), (SECOND, second)):
        if place is not None:
            left, top = place
            labels[top : top + SQUARE, left : left + SQUARE] = label
    if bar:
        labels[:, BAR_COLUMNS] = BAR
    return labels


def linked(linker, labels, divided=None, order=range(SLOTS), count=SLOTS):
    """Return the slots and the slot of each pixel; slot `order[n]` of the frame has label n.

    `divided` are the labels as the single frame divides them, those of the image by default.
    """
    order = np.array(order)
    noise = np.random.default_rng(0).normal(0, 0.02, (3, SIDE, SIDE))
    x = (COLORS[labels].transpose(2, 0, 1) + noise).clip(0, 1).astype(np.float32)
    owner = order[labels if divided is None else divided]
    masks = np.eye(count, dtype=np.float32)[owner].transpose(2, 0, 1)
    slots = np.zeros((count, 2), np.float32)
    slots[order[:count]] = np.arange(count)[:, None]
    found = linker.link(slots, masks, x)
    np.testing.assert_allclose(found.masks.sum(0), 1, atol=1e-5)
    return found.slots, found.masks.argmax(0)


@given(st.lists(st.permutations(range(SLOTS)), min_size=5, max_size=5))
@settings(max_examples=15, deadline=None)
def test_objects_keep_their_slots_in_any_order_of_those_of_the_frames(orders):
    linker = SlotLinker(REFINEMENT)
    for n, order in enumerate(orders):
        labels = a_frame((2 * n, 4), (30 - n, 30 - n))
        slots, owner = linked(linker, labels, order=order)
        np.testing.assert_array_equal(owner, np.array(orders[0])[labels])
        for label in (0, FIRST, SECOND):
            assert slots[orders[0][label], 0] == label


def test_an_object_has_the_same_slot_after_a_bar_hid_it():
    linker, hidden = SlotLinker(REFINEMENT), 0
    for left in range(1, 38):
        labels = a_frame((left, 20), bar=True)
        slots, owner = linked(linker, labels)
        hidden += not (labels == FIRST).any()
        np.testing.assert_array_equal(owner, labels)
        assert slots[FIRST, 0] == FIRST
    assert hidden >= 12


def test_an_object_that_turned_back_while_it_was_hidden_is_found_by_its_color():
    linker = SlotLinker(REFINEMENT)
    for left in (*range(1, 22), *range(21, 4, -1)):
        labels = a_frame((left, 20), bar=True)
        _, owner = linked(linker, labels)
        np.testing.assert_array_equal(owner, labels)


def test_a_new_object_gets_a_free_slot_and_keeps_it():
    linker = SlotLinker(REFINEMENT)
    for n in range(8):
        labels = a_frame((4, 4 + n), (30, 20) if n >= 3 else None)
        _, owner = linked(linker, labels)
        free = labels == SECOND
        np.testing.assert_array_equal(owner[~free], labels[~free])
        if n >= 3:
            assert {*owner[free]} == {1}  # the lowest that nothing holds


def test_parts_of_a_known_object_and_objects_that_are_joined_keep_their_slots():
    linker = SlotLinker(REFINEMENT)
    labels = a_frame((10, 10), (30, 30))
    linked(linker, labels)
    halves = np.where((labels == FIRST) & (np.arange(SIDE) >= 14), 4, labels)
    for divided in (halves, np.where(labels == SECOND, 0, labels), np.zeros_like(labels)):
        _, owner = linked(linker, labels, divided)
        np.testing.assert_array_equal(owner, labels)


def test_a_slot_is_given_away_only_after_its_object_was_hidden_for_long():
    linker, order = SlotLinker(REFINEMENT), [0, 2, 1]
    linked(linker, a_frame((4, 4)), None, order, count=3)
    linked(linker, a_frame((4, 4), bar=True), None, order, count=3)
    scene = a_frame(None, (4, 30), bar=True)
    for n in range(HISTORY + 3):
        divided = np.where(scene == SECOND, FIRST, scene)
        _, owner = linked(linker, scene, divided, order, count=3)
        blue = {*owner[scene == SECOND]}
        assert (blue == {1}) == (n >= HISTORY)


@pytest.mark.parametrize('log', [False, True])
def test_masks_of_one_region_and_of_noise_are_linked(log):
    linker = SlotLinker(MaskRefinement(rounds=2, noise=0.2, log=log))
    rng = np.random.default_rng(0)
    for masks in (np.ones((1, 8, 8)), rng.random((1, 8, 8)), np.zeros((1, 8, 8))):
        found = linker.link(np.ones((1, 2), np.float32), masks, rng.random((3, 8, 8)))
        np.testing.assert_array_equal(found.masks, 1)
        np.testing.assert_array_equal(found.slots, 1)


class ShuffledSlots:
    """A slot model that divides an image by its colors, with the slots in another order each."""

    input_size, input_channels, refinement = SIDE, 3, REFINEMENT

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def encode(self, x):
        order = self.rng.permutation(len(COLORS))
        return Slots(order[None, :, None].astype(np.float32), np.zeros((1, len(COLORS), 1)))

    def decode(self, slots, x):
        order = slots.slots[0, :, 0].astype(int)
        nearest = np.square(x[0] - COLORS[:, :, None, None]).sum(1).argmin(0)
        masks = (nearest == order[:, None, None]).astype(np.float32)
        return DecodedSlots(x, x[:, None], masks[None])


def test_the_frames_of_a_model_that_refines_masks_are_linked_unless_they_are_independent():
    scenes = [a_frame((2 * n, 4), (30 - n, 30 - n)) for n in range(8)]
    images = [(COLORS[each][..., ::-1] * 255).astype(np.uint8) for each in scenes]
    for carry in (True, False):
        frames = list(segment_frames(ShuffledSlots(), images, carry))
        latents = frames[0].slots[:, 0].tolist()
        first = {latents.index(label): label for label in (0, FIRST, SECOND)}
        kept = [
            frame.slots[slot, 0] == label
            and ((frame.masks.argmax(0) == slot) == (scene == label)).all()
            for frame, scene in zip(frames, scenes, strict=True)
            for slot, label in first.items()
        ]
        assert all(kept) == carry
