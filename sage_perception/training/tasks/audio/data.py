# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Labeled spectrograms as training batches."""

from __future__ import annotations

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sage_perception.training.config import TrainingConfig
from sage_perception.training.data.speech.augment import augment
from sage_perception.training.data.speech.corpus import Corpus

UNKNOWN_WEIGHT = 6.0
"""How many times as often the last label is drawn as each of the others."""
SILENT_SHARE = 0.15
"""Share of the items of the last label that are replaced by silence, to which noise is added."""

Batch = tuple[Tensor, Tensor, Tensor]
"""Input and target `[B, 1, bands, frames]`, labels `[B]`."""


class SpeechBatches(Dataset[Batch]):
    """One epoch of an endless stream of batches that starts at batch `start`.

    A batch depends only on its number and the configured seed. All labels but the last are drawn
    equally often.
    """

    def __init__(
        self, corpus: Corpus, labels: int, config: TrainingConfig, start: int, count: int
    ) -> None:
        self.mel = torch.from_numpy(corpus.mel)[:, None]
        self.label = torch.from_numpy(corpus.label)
        self.last, self.config, self.start, self.count = labels - 1, config, start, count
        sizes = np.bincount(corpus.label, minlength=labels).astype(np.float64)
        weights = np.ones(labels)
        weights[-1] = UNKNOWN_WEIGHT
        self.weights = (weights / np.maximum(sizes, 1))[corpus.label] * corpus.weight
        self.weights /= self.weights.sum()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Batch:
        if index >= self.count:
            raise IndexError(index)
        rng = np.random.default_rng((self.config.seed, self.start + index))
        chosen = torch.from_numpy(rng.choice(len(self.label), self.config.batch, p=self.weights))
        mel, label = self.mel[chosen], self.label[chosen]
        silent = (label == self.last) & torch.from_numpy(rng.random(len(label)) < SILENT_SHARE)
        mel = torch.where(silent[:, None, None, None], torch.zeros_like(mel), mel)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        changed = augment(mel, generator)
        return changed.input, changed.target, label


class SpeechDataModule(lightning.LightningDataModule):
    """Labeled spectrograms to train and to validate on."""

    def __init__(
        self, train: Corpus, validation: Corpus, labels: int, config: TrainingConfig
    ) -> None:
        super().__init__()
        self.train, self.validation = train, validation
        self.labels, self.config = labels, config

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of this epoch, which continue those of the previous one."""
        assert self.trainer is not None
        count = self.config.epoch
        start = self.trainer.current_epoch * count
        return DataLoader(SpeechBatches(self.train, self.labels, self.config, start, count), None)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return the held-out spectrograms, unchanged, and their labels."""
        mel = torch.from_numpy(self.validation.mel)[:, None]
        return DataLoader(TensorDataset(mel, torch.from_numpy(self.validation.label)), 256)
