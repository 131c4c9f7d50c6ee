# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The task of models of sound, family `audio`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sage_perception.models import artifact
from sage_perception.models.audio_model import TEMPERATURE
from sage_perception.models.networks.audio import AudioVAE
from sage_perception.training.config import ConfigError
from sage_perception.training.data.speech.augment import augment
from sage_perception.training.data.speech.corpus import Corpus, corpus
from sage_perception.training.data.speech.voices import SpeechUnavailable
from sage_perception.training.export.folder import finalize, round_weights, save_tensors
from sage_perception.training.export.onnx_graph import ExportWrapper, to_onnx
from sage_perception.training.runs import load_or_new, load_run
from sage_perception.training.task import Task
from sage_perception.training.tasks.audio.data import SpeechDataModule
from sage_perception.training.tasks.audio.module import AudioModule

TEMPERATURES = np.geomspace(0.3, 5, 60)
"""Temperatures among which the calibration chooses."""


class AudioTask(Task[SpeechDataModule]):
    """Train on generated words."""

    def data(self) -> SpeechDataModule:
        """Generate the words, or read them from the cache. Raises `ConfigError`."""
        labels = self.config.model.labels
        try:
            words = corpus(labels)
        except (SpeechUnavailable, ValueError) as error:
            raise ConfigError(str(error)) from None
        held_out = words.held_out
        return SpeechDataModule(
            words.only(~held_out), words.only(held_out), len(labels), self.config.training
        )

    def module(self, data: SpeechDataModule, run: Path) -> AudioModule:
        """Return a new module, or that of the checkpoint."""
        model = load_or_new(self.config, run, AudioVAE)
        return AudioModule(model, self.config.training)

    def export(self, run: Path, folder: Path) -> None:
        """Write the model folder of a run, without its card. Raises `ConfigError`."""
        data = self.data()
        model = load_run(self.config, run, AudioVAE).float().eval()
        folder.mkdir(parents=True, exist_ok=True)
        tensors = round_weights(model)
        tensors |= statistics(model, data.train)
        tensors[TEMPERATURE] = np.array([calibrate(model, data.validation)], np.float32)
        save_tensors(tensors, folder / artifact.WEIGHTS)
        x = torch.zeros(2, 1, model.config.bands, model.config.frames)
        outputs = ['mean', 'log_var', 'logits']
        to_onnx(ExportWrapper(model, 'analyze'), [x], folder / artifact.ENCODER, ['x', *outputs])
        z = torch.zeros(2, model.config.latent_dim)
        to_onnx(ExportWrapper(model, 'decode'), [z], folder / artifact.DECODER, ['z', 'y'])
        settings = asdict(model.config)
        settings |= {name: list(settings[name]) for name in ('labels', 'channels')}
        files = [artifact.WEIGHTS, artifact.ENCODER, artifact.DECODER]
        finalize(folder, self.config, settings, tensors, files)


def analyzed(model: AudioVAE, mel: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return latents `[N, D]` and logits `[N, W]` of spectrograms `[N, bands, frames]`."""
    with torch.inference_mode():
        parts = [model.analyze(part) for part in torch.from_numpy(mel)[:, None].split(256)]
    return torch.cat([mean for mean, _, _ in parts]), torch.cat([each for _, _, each in parts])


def statistics(model: AudioVAE, words: Corpus) -> dict[str, np.ndarray]:
    """Return mean and standard deviation `[D]` of the latents of training words."""
    means, _ = analyzed(model, words.mel)
    return {
        artifact.LATENT_MEAN: means.mean(0).numpy().copy(),
        artifact.LATENT_STD: means.std(0).clamp_min(1e-6).numpy().copy(),
    }


def calibrate(model: AudioVAE, words: Corpus) -> float:
    """Return the temperature of least cross-entropy on held-out voices (Guo et al., 2017).

    The words are changed as in training, so that noise is calibrated too.
    """
    changed = augment(torch.from_numpy(words.mel)[:, None], torch.Generator().manual_seed(0))
    _, logits = analyzed(model, changed.input[:, 0].numpy())
    label = torch.from_numpy(words.label)
    losses = [float(cross_entropy(logits / float(t), label)) for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])
