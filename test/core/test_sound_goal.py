# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Words in latents of sound as goals."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from sound_latents import latent_of

from sage_perception.audio.mel import log_mel
from sage_perception.audio.synthetic import syllables
from sage_perception.core.latent import LatentKind
from sage_perception.core.lct import LCT, Operation
from sage_perception.models import load_audio
from sage_perception.pipeline.sound_goal import SENTENCE, SoundGoal
from sage_perception.puzzle.translators import TranslationRefused, TranslatorRegistry

SECOND = 1_000_000_000


@pytest.fixture(scope='module')
def model():
    return load_audio()


@pytest.fixture
def translate(model):
    """Return a function from a word, its stamp and the trust of its sound to a text LCT."""
    texts = []

    def encode(sentences):
        texts.extend(sentences)
        return np.stack([np.full(384, len(text), np.float32) for text in sentences])

    goal = SoundGoal(model, encode, ('red', 'ball'), 0.7, 1.5)
    registry, count = TranslatorRegistry(), itertools.count(1)
    registry.register(goal.translator)

    def translated(word, stamp_s, trust=0.8, min_trust=0.5, kind=LatentKind.AUDIO):
        sound = LCT.encoded(
            replace(latent_of(model, word, trust), kind=kind), entity_id='audio',
            sequence=next(count), stamp_ns=round(stamp_s * SECOND),
        )  # fmt: skip
        lct = goal.translate(sound, registry, 'translator', lambda: next(count), min_trust)
        assert texts[-1] == goal.text
        return goal.text, lct

    return translated


def test_the_logits_of_a_latent_are_those_of_its_sound(model):
    sounds = [log_mel(syllables(np.random.default_rng(seed))) for seed in range(4)]
    output = model.encode(np.stack(sounds)[:, None])
    np.testing.assert_allclose(model.label_logits(output.mean), output.logits, atol=1e-3)


def test_words_become_sentences_with_provenance_and_trust(translate):
    text, lct = translate('red', 1.0)
    assert text == 'red'
    assert lct.latent.kind is LatentKind.TEXT
    assert lct.latent.model == SENTENCE
    assert [step.operation for step in lct.provenance] == [Operation.ENCODE, Operation.TRANSLATE]
    confidence = lct.provenance[-1].trust
    assert 0.9 < confidence < 1
    assert lct.trust == pytest.approx(0.8 * confidence)
    text, lct = translate('ball', 2.0)
    assert text == 'red ball'
    assert (lct.latent.mean == len('red ball')).all()
    assert translate('ball', 4.0)[0] == 'ball'


@pytest.mark.parametrize(('word', 'trust'), [('unknown', 0.8), ('red', 0.5), ('red', 0.0)])
def test_sounds_that_are_no_trusted_word_are_refused_and_join_no_sentence(translate, word, trust):
    with pytest.raises(TranslationRefused):
        translate(word, 1.0, trust)
    assert translate('ball', 1.5)[0] == 'ball'


def test_a_latent_of_another_kind_is_no_sound(translate):
    with pytest.raises(TranslationRefused, match='takes no latent of this kind: VISION'):
        translate('red', 1.0, kind=LatentKind.VISION)


def test_a_word_below_the_least_confidence_is_refused(model, translate):
    with pytest.raises(TranslationRefused, match=r'no word of a goal: red 0\.6'):
        translate(('red', 0.6), 1.0, min_trust=0.1)


def test_a_word_that_the_model_does_not_recognize_is_an_error(model):
    with pytest.raises(ValueError, match="'teapot' is not a word of audiovae"):
        SoundGoal(model, lambda texts: np.zeros((1, 384)), ('teapot',), 0.7, 1.0)
