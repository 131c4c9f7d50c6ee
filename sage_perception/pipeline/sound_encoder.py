# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sound events → spectrograms → latents with trust and words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.audio.event_stream import SoundEvent
from sage_perception.audio.mel import BANDS, FRAMES, log_mel
from sage_perception.core.latent import Latent, LatentKind, Telemetry
from sage_perception.core.metrics import kl_per_dim
from sage_perception.models.artifact import ModelError
from sage_perception.models.audio_model import AudioModel


@dataclass(frozen=True, eq=False)
class EncodedSound:
    """An event with its latent.

    Attributes:
        latent: of kind AUDIO; its telemetry has the trust.
        word: the most likely label of the model, which may be its label for all other sounds.
        confidence: calibrated probability of `word`, in [0, 1].
        known: whether `word` is not the label for all other sounds.
    """

    latent: Latent
    word: str
    confidence: float
    known: bool


def check_words(model: AudioModel, words: Sequence[str]) -> None:
    """Raise `ValueError` for words that a model does not recognize."""
    known = model.labels[:-1]
    for word in words:
        if word not in known:
            raise ValueError(f'{word!r} is not a word of {model.id}: use {", ".join(known)}')


class SoundEncoder:
    """Encodes events with a model of sound.

    With `words`, these alone are recognized, see `AudioModel.recognize`. Raises `ModelError` for a
    model of spectrograms of another size, and `ValueError` for words that it does not recognize.
    """

    def __init__(self, model: AudioModel, words: Sequence[str] = ()) -> None:
        if model.mel_shape != (BANDS, FRAMES):
            bands, frames = model.mel_shape
            raise ModelError(
                f'{model.id} reads spectrograms of {bands} bands and {frames} frames; events have '
                f'{BANDS} and {FRAMES}: use a model such as audiovae'
            )
        check_words(model, words)
        self.model, self._words = model, tuple(words)

    def encode(self, event: SoundEvent) -> EncodedSound:
        """Return the latent and the word of an event.

        The trust is R² of the latent's own reconstruction, and 0 for a faulty microphone. Raises
        `ModelError` for a model that cannot run.
        """
        start_s = time.perf_counter()
        mel = log_mel(event.samples)[None, None]
        mean, log_var, logits = self.model.encode(mel)
        (error,), (fit,) = self.model.reconstruction(mean, mel)
        trust = 0.0 if event.fault else float(np.nan_to_num(fit).clip(0, 1))
        telemetry = Telemetry(
            trust=trust,
            reconstruction_error=float(error),
            kl_per_dim=float(kl_per_dim(mean, log_var)[0]),
            latent_norm=float(np.linalg.norm(mean)),
            time_s=time.perf_counter() - start_s,
        )
        latent = Latent(
            mean=mean[0],
            log_var=log_var[0],
            kind=LatentKind.AUDIO,
            model=self.model.id,
            telemetry=telemetry,
        )
        ((word, confidence),) = self.model.recognize(logits, self._words)
        known = word != self.model.labels[-1]
        return EncodedSound(latent, word, 0.0 if event.fault else confidence, known)
