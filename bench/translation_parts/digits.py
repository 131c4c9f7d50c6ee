# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Digits of an unseen person from 128-D latents, and R² of the spectrogram.

Each person of the recordings is held out in turn. An AudioVAE is trained on the other persons and
on generated digits (config/train/audiovae.yaml with other labels and fewer steps). Its figure is
that of its label head, which reads nothing but the latent. Beside it: 128 principal components
with a linear classifier, ridge regression on the whole spectrogram, and the shipped model, which
is trained on generated speech alone. Trainings are resumed from out/train/translation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sage_perception.audio.words import DIGITS, UNKNOWN
from sage_perception.models import load_audio
from sage_perception.models.networks.audio import AudioVAE
from sage_perception.training.config import RunConfig, read_config
from sage_perception.training.data.speech.corpus import Corpus, corpus
from sage_perception.training.tasks.audio.data import SpeechDataModule
from sage_perception.training.tasks.audio.task import AudioTask, analyzed
from sage_perception.training.train import fit
from translation_parts.fsdd import Digits, load

CONFIG = Path('config/train/audiovae.yaml')
RUNS = Path('out/train/translation')
STEPS = 750
RECORDED_WEIGHT = 3.0
"""How often all recordings together are drawn relative to all generated digits."""
COMPONENTS = 128
RIDGE = 1000.0


def configuration(voice: str, seed: int) -> RunConfig:
    """Return the configuration of the model that holds a person out."""
    config = read_config(CONFIG)
    model = replace(config.model, labels=(*DIGITS, UNKNOWN))
    training = replace(config.training, steps=STEPS, seed=seed)
    return replace(config, name=f'digits_{voice}', model=model, training=training)


def mixed(digits: Digits, held_out: np.ndarray) -> Corpus:
    """Return the recordings that are not held out, with generated digits and other words."""
    words = corpus()
    label = np.minimum(words.label, len(DIGITS))
    words = Corpus(words.mel, label, words.person, words.weight)
    known = np.flatnonzero(label < len(DIGITS))
    other = np.flatnonzero(label == len(DIGITS))[::8]
    words = words.only(np.concatenate([known, other]))
    recorded = ~held_out
    share = RECORDED_WEIGHT * words.weight[words.label < len(DIGITS)].sum() / recorded.sum()
    return Corpus(
        np.concatenate([words.mel, digits.mel[recorded, 0]]),
        np.concatenate([words.label, digits.digit[recorded]]),
        np.concatenate([words.person, digits.voice[recorded]]),
        np.concatenate([words.weight, np.full(recorded.sum(), share)]),
    )


@cache
def trained(voice: str, seed: int) -> AudioVAE:
    """Return the model that has not been trained on a person."""
    digits, config = load(), configuration(voice, seed)
    held_out = digits.voice == voice
    training = mixed(digits, held_out)
    # The validation is on persons of the training: the held-out one decides nothing.
    data = SpeechDataModule(training, training.only(np.arange(0, len(training.label), 40)),
                            len(DIGITS) + 1, config.training)  # fmt: skip
    module = fit(AudioTask(config), data, RUNS / f'{voice}_{seed}', progress=False)
    model = module.model
    assert isinstance(model, AudioVAE)
    return model.eval()


def r2(x: np.ndarray, y: np.ndarray) -> float:
    """Return the coefficient of determination of reconstructions, over all values."""
    return float(1 - np.square(x - y).sum() / np.square(x - x.mean()).sum())


def measure(seeds: Sequence[int]) -> dict[str, object]:
    """Return accuracy and R² for each person and seed, and the baselines."""
    import torch

    digits = load()
    voices = sorted(set(digits.voice))
    accuracies: dict[str, list[float]] = {}
    fits: list[float] = []
    baselines: dict[str, list[float]] = {'pca_128_linear': [], 'mel_ridge': [], 'shipped': []}
    shipped = load_audio()
    known = list(shipped.labels).index(DIGITS[0])
    for voice in voices:
        test = digits.voice == voice
        flat = digits.mel.reshape(len(digits.mel), -1)
        pca = make_pipeline(
            PCA(COMPONENTS, random_state=0), StandardScaler(), LogisticRegression(max_iter=500)
        )
        for name, model in (('pca_128_linear', pca), ('mel_ridge', RidgeClassifier(RIDGE))):
            model.fit(flat[~test], digits.digit[~test])
            baselines[name].append(float(model.score(flat[test], digits.digit[test])))
        logits = shipped.encode(digits.mel[test]).logits[:, known : known + len(DIGITS)]
        baselines['shipped'].append(float((logits.argmax(1) == digits.digit[test]).mean()))
        for seed in seeds:
            network = trained(voice, seed)
            z, logits = (each.numpy() for each in analyzed(network, digits.mel[test, 0]))
            found = logits[:, : len(DIGITS)].argmax(1)
            accuracies.setdefault(voice, []).append(float((found == digits.digit[test]).mean()))
            with torch.inference_mode():
                y = network.decode(torch.from_numpy(z)).numpy()
            fits.append(r2(digits.mel[test], y))
    means = [float(np.mean(row)) for row in zip(*accuracies.values(), strict=True)]
    return {
        'value': float(np.mean(means)),
        'seeds': means,
        'voices': accuracies,
        'mel_r2': {'value': float(np.mean(fits)), 'least': float(np.min(fits))},
        'baselines': {
            'chance': 1 / len(DIGITS),
            **{name: float(np.mean(row)) for name, row in baselines.items()},
        },
    }
