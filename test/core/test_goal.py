# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Goals: the vocabulary that makes likeness comparable, scores of tracks, their effect."""

import numpy as np
import pytest

from sage_perception.codecs.directions import pack_direction
from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Code, Latent, LatentKind, ModelId, Roi
from sage_perception.models import ModelError, load_semantic
from sage_perception.models.registry import available
from sage_perception.models.semantic import vocabulary
from sage_perception.models.semantic.nouns import MIN_CONFIDENCE
from sage_perception.pipeline.goal import MAX_CHARS, Goal
from sage_perception.vision.regions import Candidate
from sage_perception.vision.track_scores import MAX_AGE_S, TrackScores

FOLDER = available()['semantic_text']


@pytest.fixture(scope='module')
def words():
    found = vocabulary.read(FOLDER)
    assert found is not None
    return found


def test_a_noun_fits_its_own_code_better_than_nearly_all_others(words):
    some = range(0, len(words.nouns), 25)
    likeness = [words.likeness(words.codes[i : i + 1], words.codes[i])[0] for i in some]
    assert np.mean(np.array(likeness) > 0.99) > 0.95


def test_confidence_is_that_of_the_label(words):
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(20, words.codes.shape[1]))
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    labels, confidence = words.nearest(codes), words.confidence(codes)
    assert [label.confidence for label in labels] == pytest.approx(confidence.tolist())
    chances = words.chances(codes)
    for label, row in zip(labels, chances, strict=True):
        assert label.confidence == pytest.approx(row[words.nouns.index(label.noun)])
        assert (label.confidence >= MIN_CONFIDENCE) == (row.max() >= MIN_CONFIDENCE)
    assert ((chances >= 0) & (chances <= 1)).all()


def test_a_label_without_confidence_is_unknown():
    assert vocabulary.Label('dog', 0.8).text == 'dog 80%'
    assert vocabulary.Label('dog', 0.2).text == 'unknown'


def test_a_vocabulary_survives_a_round_trip(words, tmp_path):
    vocabulary.write(tmp_path, words)
    again = vocabulary.read(tmp_path)
    assert again is not None
    assert (again.space, again.nouns) == (words.space, words.nouns)
    for name in ('codes', 'bias', 'members', 'class_map', 'class_offset'):
        np.testing.assert_array_equal(getattr(again, name), getattr(words, name))


def test_a_damaged_vocabulary_is_refused_in_one_line(words, tmp_path):
    path = vocabulary.write(tmp_path, words)
    content = path.read_bytes()
    for damaged in (b'', content[:100], content.replace(b'members', b'memberz', 1)):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match='make_vocabulary') as refused:
            vocabulary.read(tmp_path)
        assert '\n' not in str(refused.value)
    assert vocabulary.read(tmp_path / 'none') is None


class Nouns:
    """The codes of nouns as a text encoder."""

    def __init__(self, words):
        self._words = words

    def text(self, texts):
        return np.stack([self._words.codes[self._words.nouns.index(text)] for text in texts])


def seen(words, track, noun, space=None):
    payload = pack_direction(words.codes[words.nouns.index(noun)])
    model = ModelId(fingerprint=space or words.space)
    code = Code(LatentKind.SEMANTIC, model, 2, payload)
    return Latent(np.zeros(4, np.float32), track_id=track, codes=(code,))


def test_tracks_that_fit_a_goal_have_higher_scores(words):
    goal = Goal(Nouns(words), words.space)
    goal.update([seen(words, 1, 'dog'), seen(words, 2, 'truck')], 10**9)
    goal.update([seen(words, 3, 'dog', space=b'x' * 32)], 10**9)
    assert goal.scores([1, 2, 3], 10**9) == {}
    goal.set('  dog ')
    scores = goal.scores([1, 2, 3, 4], 10**9)
    assert set(scores) == {1, 2}
    assert scores[1] > 0.99
    assert scores[2] < 0.7
    goal.set('')
    assert (goal.scores([1, 2], 10**9), goal.words) == ({}, '')


def test_a_goal_is_bounded_and_needs_a_vocabulary(words):
    goal = Goal(Nouns(words), words.space)
    with pytest.raises(ValueError, match='at most'):
        goal.set('x' * (MAX_CHARS + 1))
    with pytest.raises(ModelError, match='vocabulary'):
        Goal(Nouns(words), b'?' * 32)


def test_the_sentence_encoder_fits_the_vocabulary(words):
    """The shipped codes are those that the installed encoder computes."""
    model = load_semantic()
    texts = ['dog', 'truck', 'airliner']
    expected = np.stack([words.codes[words.nouns.index(text)] for text in texts])
    assert (model.text(texts) * expected).sum(1).min() > 0.99


def candidate(track, score=0.5):
    return Candidate(Roi(0, 0, 10, 10), score, CropSource.MOTION, track)


def test_scores_weight_candidates_for_a_limited_time():
    scores = TrackScores()
    scores.set({1: 1.0, 2: 0.0, 3: 0.5}, 10.0)
    several = [candidate(track) for track in (1, 2, 3, 4)]
    found = [each.score for each in scores.apply(several, 10.1, 0.8)]
    assert found == pytest.approx([0.9, 0.1, 0.5, 0.5])
    assert scores.apply([candidate(1, 0.9)], 10.1, 1.0)[0].score == 1.0
    assert scores.apply(several, 10.1, 0.0) == several
    assert scores.apply(several, 10.0 + MAX_AGE_S + 0.1, 0.8) == several
    scores.set({}, 11.0)
    assert scores.apply(several, 11.0, 0.8) == several


@pytest.mark.parametrize('score', [-0.1, 1.1, float('nan')])
def test_invalid_scores_are_refused(score):
    with pytest.raises(ValueError, match='track 1'):
        TrackScores().set({1: score}, 0.0)


def test_the_vocabulary_is_that_of_the_shipped_model(words):
    """After a change of the model: python tools/make_vocabulary.py."""
    assert words.space == load_semantic().semantic_space
    assert vocabulary.installed_vocabulary(words.space) is not None


def test_unknown_spaces_do_not_read_files(words, monkeypatch):
    assert vocabulary.installed_vocabulary(words.space) is not None
    monkeypatch.setattr('os.open', None)  # every file of a model is opened with it
    assert vocabulary.installed_vocabulary(b'?' * 32) is None
    assert vocabulary.installed_vocabulary(words.space) is not None
