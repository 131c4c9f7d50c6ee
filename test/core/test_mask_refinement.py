# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Masks of slots refined on the pixels, and slots joined if one color explains both."""

import numpy as np
import pytest

from sage_perception.models.mask_refinement import MaskRefinement

SIDE = 24
GREEN, RED, BLUE = (0.2, 0.8, 0.3), (0.9, 0.1, 0.1), (0.1, 0.2, 0.9)


def an_image(shade=0.0):
    """Return a green image with a red square and a blue one: image, label of each pixel."""
    labels = np.zeros((SIDE, SIDE), int)
    labels[3:11, 3:11] = 1
    labels[12:20, 10:20] = 2
    x = np.array([GREEN, RED, BLUE], np.float32)[labels].transpose(2, 0, 1)
    ramp = np.linspace(-shade, shade, SIDE, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 0.02, x.shape)
    return (x + (labels > 0) * ramp + noise).clip(0, 1).astype(np.float32), labels


def blurred(labels, count, share=0.6):
    """Return masks that hold a pixel and its neighbors at 3 pixels to the right."""
    exact = np.stack([labels == k for k in range(count)]).astype(np.float32)
    return share * np.roll(exact, 3, 2) + (1 - share) / count


def test_no_rounds_leave_the_masks():
    x, labels = an_image()
    masks = blurred(labels, 3)
    assert MaskRefinement().refine(masks, x) is masks


@pytest.mark.parametrize('affine', [False, True])
def test_pixels_go_to_the_slot_of_their_color(affine):
    x, labels = an_image(shade=0.1 if affine else 0.0)
    refinement = MaskRefinement(rounds=8, affine=affine)
    masks = blurred(labels, 3)
    found = refinement.refine(masks, x)
    assert (masks.argmax(0) != labels).mean() > 0.1
    np.testing.assert_array_equal(found.argmax(0), labels)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


def test_slots_of_one_color_are_joined_under_the_lowest_number_and_others_are_not():
    x, labels = an_image()
    halves = np.where((labels == 0) & (np.arange(SIDE) > 11), 3, labels)
    masks = blurred(halves, 5)
    apart = MaskRefinement(rounds=4).refine(masks, x)
    joined = MaskRefinement(rounds=4, penalty=20).refine(masks, x)
    assert {0, 1, 2, 3} <= {*np.unique(apart.argmax(0))}
    np.testing.assert_array_equal(joined.argmax(0), labels)
    assert not joined[3:].any()
    np.testing.assert_allclose(joined.sum(0), 1, atol=1e-5)
    everything = MaskRefinement(rounds=4, penalty=1e6).refine(masks, x)
    assert not everything[1:].any()


def test_a_gradual_change_is_one_affine_color_but_several_constant_ones():
    ramp = np.linspace(0.1, 0.9, SIDE, dtype=np.float32)
    x = np.broadcast_to(ramp, (3, SIDE, SIDE))
    masks = np.repeat(np.eye(3, dtype=np.float32), SIDE // 3, 1)[:, None, :].repeat(SIDE, 1)
    counts = {}
    for affine in (False, True):
        found = MaskRefinement(rounds=3, penalty=40, affine=affine).refine(masks, x)
        counts[affine] = len(np.unique(found.argmax(0)))
    assert counts == {False: 3, True: 1}


def test_shadows_count_little_in_logarithmic_colors():
    x, labels = an_image()
    x[:, :, SIDE // 2 :] *= 0.6
    halves = np.where((labels == 0) & (np.arange(SIDE) >= SIDE // 2), 3, labels)
    masks = blurred(halves, 4)
    plain = MaskRefinement(rounds=4, penalty=40).refine(masks, x)
    found = MaskRefinement(rounds=4, penalty=40, log=True, luminance=0.05).refine(masks, x)
    assert len(np.unique(plain.argmax(0))) == 4
    np.testing.assert_array_equal(found.argmax(0), labels)


def test_is_read_from_the_configuration_of_a_model():
    fields = {'mask_rounds': 3, 'mask_noise': 0.2, 'slot_penalty': 9.0, 'colors': 'affine'}
    found = MaskRefinement.of({**fields, 'color_space': 'log', 'luminance': 0.5})
    assert found == MaskRefinement(3, 0.2, 9.0, affine=True, log=True, luminance=0.5)
    assert not MaskRefinement.of({}).rounds
    with pytest.raises(ValueError, match='noise is 0; it must be'):
        MaskRefinement.of({'mask_noise': 0})
