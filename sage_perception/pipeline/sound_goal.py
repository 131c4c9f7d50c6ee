# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Words in LCTs of sound as goals: latents of their sentence (AUDIO → TEXT)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sage_perception.audio.phrase import Phrase
from sage_perception.core.latent import Latent, LatentKind, ModelId, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.models.audio_model import AudioModel
from sage_perception.models.semantic.text_encoder import GRAPH_SHA256
from sage_perception.pipeline.sound_encoder import check_words
from sage_perception.puzzle.translators import (
    KindTranslator,
    TranslationRefused,
    TranslatorRegistry,
)

SENTENCE = ModelId('sentence', '1', bytes.fromhex(GRAPH_SHA256))
"""The space of sentence embeddings, latents of kind TEXT."""
TRUST = 0.97
"""Share of the recognized words that are right, with goal words and the default least confidence:
`bench/translation.py goal_words`."""


class SoundGoal:
    """Translates the words in latents of sound, and joins successive ones to one sentence.

    Args:
        model: the model of the latents, whose label head recognizes the words.
        encode: the sentence encoder, texts to embeddings `[N, 384]`.
        words: the words of goals; empty: all words of the model.
        min_confidence: least probability of a word, in [0, 1].
        gap_s: maximum time between two words of one sentence, seconds.

    Raises `ValueError` for words that the model does not recognize.
    """

    def __init__(
        self,
        model: AudioModel,
        encode: Callable[[Sequence[str]], np.ndarray],
        words: Sequence[str],
        min_confidence: float,
        gap_s: float,
    ):
        check_words(model, words)
        self.min_confidence = min_confidence
        self.text = ''
        """The last sentence."""
        self._model, self._encode, self._words = model, encode, tuple(words)
        self._phrase = Phrase(gap_s)
        self._stamp_ns, self._least = 0, min_confidence
        self.translator = KindTranslator(
            'words', LatentKind.AUDIO, LatentKind.TEXT, model.id, SENTENCE, TRUST,
            self._translate, by_item=True,
        )  # fmt: skip
        """The translator to register; its trust by item is the probability of the word."""

    def translate(
        self,
        lct: LCT,
        registry: TranslatorRegistry,
        entity_id: str,
        next_sequence: Callable[[], int],
        min_trust: float,
    ) -> LCT:
        """Return the LCT of the sentence that a sound completes, by the registered translators.

        Raises `TranslationRefused` for a sound without a word, and as `TranslatorRegistry`.
        """
        # Checked before the word joins a sentence, of which untrusted words must not be a part.
        self._least = max(self.min_confidence, min_trust / max(lct.trust, 1e-9))
        self._stamp_ns = lct.stamp_ns
        return registry.translate(
            lct, LatentKind.TEXT, entity_id=entity_id, next_sequence=next_sequence,
            min_trust=min_trust,
        )  # fmt: skip

    def _translate(self, latent: Latent) -> Latent:
        logits = self._model.label_logits(latent.mean[None])
        ((word, confidence),) = self._model.recognize(logits, self._words)
        if word == self._model.labels[-1] or not confidence >= self._least:
            raise TranslationRefused(f'the sound is no word of a goal: {word} {confidence:.2f}')
        self.text = self._phrase.add(word, self._stamp_ns)
        embedded = self._encode([self.text])[0]
        telemetry = Telemetry(trust=confidence)
        return Latent(embedded, None, LatentKind.TEXT, SENTENCE, telemetry=telemetry)
