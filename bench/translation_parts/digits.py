# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Digits of an unseen person from 128-D latents, and R² of the spectrogram.

Each person of the recordings is held out in turn. The shipped model, which is trained on generated
speech alone, is trained further on the recordings of the other persons. The figure is that of its
label head among the ten digits, which reads nothing but the latent. Beside it: 128 principal
components with a linear classifier, ridge regression on the whole spectrogram, and the shipped
model as it is. Trainings of the present code are resumed from out/train/translation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sage_perception.audio.words import DIGITS, LABELS
from sage_perception.models import load_audio
from sage_perception.models.networks.audio import AudioVAE
from sage_perception.training.config import RunConfig, read_config
from sage_perception.training.data.speech.corpus import Corpus, corpus
from sage_perception.training.runs import CHECKPOINT
from sage_perception.training.tasks.audio.data import SpeechDataModule
from sage_perception.training.tasks.audio.module import AudioModule
from sage_perception.training.tasks.audio.task import AudioTask, analyzed
from sage_perception.training.train import fit
from translation_parts.cache import fingerprint
from translation_parts.fsdd import Digits, load

CONFIG = Path('config/train/audiovae.yaml')
RUNS = Path('out/train/translation')
STEPS = 750
LEARNING_RATE = 1e-3
RECORDED_SHARE = 2.0
"""How often all recordings of a digit are drawn relative to all its generated ones."""
COMPONENTS = 128
RIDGE = 1000.0
FIRST = LABELS.index(DIGITS[0])


class FurtherTask(AudioTask):
    """Training that starts from the shipped model."""

    def module(self, data: SpeechDataModule, run: Path) -> AudioModule:
        """Return a module with the weights of the shipped model, or that of the checkpoint."""
        module = super().module(data, run)
        if not (run / CHECKPOINT).exists():
            tensors = load_audio().artifact.tensors
            names = module.model.state_dict()
            module.model.load_state_dict(
                {name: torch.from_numpy(tensors[name]).float() for name in names}
            )
        return module


def configuration(voice: str, seed: int) -> RunConfig:
    """Return the configuration of the model that holds a person out."""
    config = read_config(CONFIG)
    training = replace(config.training, steps=STEPS, learning_rate=LEARNING_RATE, seed=seed)
    return replace(config, name=f'digits_{voice}', training=training)


generated_words = cache(corpus)


def mixed(digits: Digits, held_out: np.ndarray) -> Corpus:
    """Return the generated words and the recordings that are not held out."""
    words, recorded = generated_words(), ~held_out
    generated = (words.label >= FIRST) & (words.label < FIRST + len(DIGITS))
    weight = RECORDED_SHARE * words.weight[generated].sum() / recorded.sum()
    return Corpus(
        np.concatenate([words.mel, digits.mel[recorded, 0]]),
        np.concatenate([words.label, FIRST + digits.digit[recorded]]),
        np.concatenate([words.person, digits.voice[recorded]]),
        np.concatenate([words.weight, np.full(recorded.sum(), weight)]),
    )


@cache
def trained(voice: str, seed: int) -> AudioVAE:
    """Return the model that has not been trained on a person."""
    digits, config = load(), configuration(voice, seed)
    training = mixed(digits, digits.voice == voice)
    # The validation is on persons of the training: the held-out one decides nothing.
    validation = training.only(np.arange(0, len(training.label), 40))
    data = SpeechDataModule(training, validation, len(LABELS), config.training)
    run = RUNS / f'{voice}_{seed}.{fingerprint(__name__, ("audiovae",))}'
    module = fit(FurtherTask(config), data, run, progress=False)
    model = module.model
    assert isinstance(model, AudioVAE)
    return model.eval()


def digits_of(logits: np.ndarray) -> np.ndarray:
    """Return the most likely digit of each row of logits `[N, W]`."""
    return logits[:, FIRST : FIRST + len(DIGITS)].argmax(1)


def r2(x: np.ndarray, y: np.ndarray) -> float:
    """Return the coefficient of determination of reconstructions, over all values."""
    return float(1 - np.square(x - y).sum() / np.square(x - x.mean()).sum())


def measure(seeds: Sequence[int]) -> dict[str, object]:
    """Return accuracy and R² for each person and seed, and the baselines."""
    digits = load()
    voices = sorted(set(digits.voice))
    accuracies: dict[str, list[float]] = {}
    fits: list[float] = []
    shipped_fits: list[float] = []
    baselines: dict[str, list[float]] = {'pca_128_linear': [], 'mel_ridge': [], 'shipped': []}
    shipped = load_audio()
    for voice in voices:
        test = digits.voice == voice
        flat = digits.mel.reshape(len(digits.mel), -1)
        pca = make_pipeline(
            PCA(COMPONENTS, random_state=0), StandardScaler(), LogisticRegression(max_iter=500)
        )
        for name, model in (('pca_128_linear', pca), ('mel_ridge', RidgeClassifier(RIDGE))):
            model.fit(flat[~test], digits.digit[~test])
            baselines[name].append(float(model.score(flat[test], digits.digit[test])))
        output = shipped.encode(digits.mel[test])
        found = digits_of(output.logits)
        baselines['shipped'].append(float((found == digits.digit[test]).mean()))
        shipped_fits.append(r2(digits.mel[test], shipped.decode(output.mean)))
        for seed in seeds:
            network = trained(voice, seed)
            z, logits = (each.numpy() for each in analyzed(network, digits.mel[test, 0]))
            hits = digits_of(logits) == digits.digit[test]
            accuracies.setdefault(voice, []).append(float(hits.mean()))
            with torch.inference_mode():
                y = network.decode(torch.from_numpy(z)).numpy()
            fits.append(r2(digits.mel[test], y))
    means = [float(np.mean(row)) for row in zip(*accuracies.values(), strict=True)]
    return {
        'value': float(np.mean(means)),
        'seeds': means,
        'voices': accuracies,
        'mel_r2': {
            'value': float(np.mean(fits)),
            'least': float(np.min(fits)),
            'shipped': float(np.mean(shipped_fits)),
        },
        'baselines': {
            'chance': 1 / len(DIGITS),
            **{name: float(np.mean(row)) for name, row in baselines.items()},
        },
    }
