# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Nouns of images, codes and tracks: the most specific one that is likely enough."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sage_perception.codecs.directions import pack_direction
from sage_perception.models import load
from sage_perception.models.registry import available
from sage_perception.models.semantic import vocabulary
from sage_perception.models.semantic.nouns import MIN_CONFIDENCE, NounClasses
from sage_perception.pipeline.track_labels import MAX_AVERAGED, MeanCode, TrackLabels
from sage_perception.training.semantic.fit import fit_class_map

CLASSES = 12
S = 10**9
TREE = NounClasses(
    np.array(
        [np.arange(CLASSES) == each for each in range(CLASSES)]
        + [np.arange(CLASSES) < 4, np.arange(CLASSES) < 7, np.arange(CLASSES) >= 9]
    )
)


@given(arrays(float, (3, CLASSES), elements=st.floats(0.001, 1)), st.floats(0.2, 0.95))
def test_the_first_noun_is_the_most_specific_one_that_is_likely_enough(weights, minimum):
    chances = TREE.chances(weights / weights.sum(1, keepdims=True))
    sizes = TREE.members.sum(1)
    for row, values in zip(chances, TREE.ranking(chances, minimum), strict=True):
        first, enough = values.argmax(), row >= minimum
        assert enough[first] == enough.any()
        if enough.any():
            assert sizes[first] == sizes[enough].min()


@given(arrays(float, (2, CLASSES), elements=st.floats(0, 1)))
def test_the_chance_of_a_noun_is_the_sum_of_those_of_its_classes(classes):
    expected = (classes @ TREE.members.T).clip(0, 1)
    np.testing.assert_allclose(TREE.chances(classes), expected, atol=1e-12)


def shares(model, **of):
    """Return the chances of the classes if those of some nouns are shared by their classes."""
    names, members = model.nouns
    chances = np.full(members.shape[1], 1e-9)
    for noun, chance in of.items():
        classes = members[names.index(noun)]
        chances[classes] += chance / classes.sum()
    return (chances / chances.sum())[None]


@pytest.mark.parametrize(
    ('of', 'noun'),
    [
        ({'dog': 0.9, 'truck': 0.1}, 'dog'),
        ({'dog': 0.55, 'cat': 0.2, 'truck': 0.25}, 'animal'),
        ({'dog': 0.4, 'bird': 0.4, 'truck': 0.2}, 'animal'),
        ({'collie': 0.8, 'dog': 0.2}, 'collie'),
        ({'truck': 0.9, 'ship': 0.1}, 'truck'),
        ({'truck': 0.5, 'ship': 0.45, 'dog': 0.05}, 'vehicle'),
    ],
    ids=lambda value: str(value),
)
def test_nouns_are_as_general_as_the_doubt_requires(monkeypatch, of, noun):
    model = load('semantic_text')
    of = {next(n for n in model.nouns[0] if n.lower() == name): c for name, c in of.items()}
    chances = shares(model, **of)
    monkeypatch.setattr(model, 'classify', lambda images: chances)
    [found] = model.describe(np.zeros((1, 64, 64, 3), np.uint8), 2)
    assert found[0].noun == noun
    assert found[0].score >= MIN_CONFIDENCE


def test_without_a_likely_noun_the_score_of_the_first_one_is_low(monkeypatch):
    model = load('semantic_text')
    uniform = np.full((1, 1000), 1e-3)
    monkeypatch.setattr(model, 'classify', lambda images: uniform)
    [found] = model.describe(np.zeros((1, 64, 64, 3), np.uint8), 1)
    assert found[0].score < MIN_CONFIDENCE


def test_a_class_map_predicts_the_classes_of_codes():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(400, 8))
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    logits = codes @ rng.normal(size=(8, 5)) * 3 + rng.normal(size=5)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    class_map, offset = fit_class_map(codes[:300], chances[:300])
    found = codes[300:] @ class_map + offset
    found = np.exp(found) / np.exp(found).sum(1, keepdims=True)
    assert np.abs(found - chances[300:]).max() < 0.05


@given(st.integers(0, 1000), st.integers(1, 3 * MAX_AVERAGED))
def test_the_code_of_a_track_is_the_mean_of_its_codes(seed, count):
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(count, 4))
    mean = MeanCode(codes[0], 1)
    for code in codes[1:]:
        mean = mean.with_code(code)
    assert mean.weight == min(count, MAX_AVERAGED)
    assert np.linalg.norm(mean.code) == pytest.approx(1)
    if count <= MAX_AVERAGED:
        np.testing.assert_allclose(mean.mean, codes.mean(0), atol=1e-12)


def test_one_view_of_something_else_does_not_change_the_label_of_a_track():
    words = vocabulary.read(available()['semantic_text'])
    dog, ship = (code_of(words, noun) for noun in ('dog', 'ship'))
    labels = TrackLabels()
    for code in (dog, dog, ship, dog):
        labels.add('cam0', 1, words.space, pack_direction(code), S)
    labels.add('cam0', 2, words.space, pack_direction(ship), S)
    assert labels.label('cam0', 1).noun == words.nearest(dog[None])[0].noun
    assert labels.label('cam0', 2).noun == words.nearest(ship[None])[0].noun
    assert labels.label('cam0', 1).noun != labels.label('cam0', 2).noun


@pytest.mark.parametrize('restart_s', [30, -20], ids=['a node restarts', 'a recording begins'])
def test_a_number_that_is_used_again_is_not_that_of_the_former_track(restart_s):
    words = vocabulary.read(available()['semantic_text'])
    dog, ship = (code_of(words, noun) for noun in ('dog', 'ship'))
    labels = TrackLabels()
    for second in range(3):
        labels.add('cam0', 1, words.space, pack_direction(dog), second * S)
    for second in range(3, 20):
        labels.see('cam0', [1, 2], second * S)
    assert labels.label('cam0', 1).noun == words.nearest(dog[None])[0].noun
    again_ns = (20 + restart_s) * S
    labels.see('cam0', [1], again_ns)
    assert labels.label('cam0', 1) is None
    labels.add('cam0', 1, words.space, pack_direction(ship), again_ns)
    assert labels.label('cam0', 1).noun == words.nearest(ship[None])[0].noun


def code_of(words, noun):
    """Return a code for which the classes of a noun are likely."""
    classes = words.members[words.nouns.index(noun)]
    direction = words.class_map[:, classes].mean(1) - words.class_map.mean(1)
    return direction / np.linalg.norm(direction)
