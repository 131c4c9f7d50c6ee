# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded contexts as training batches, augmented by dropping and mixing items."""

from __future__ import annotations

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sage_perception.context.layout import BLOCKS
from sage_perception.training.config import TrainingConfig
from sage_perception.training.contexts.dataset import Contexts
from sage_perception.training.tasks.h_to_l.tokens import ITEM_BLOCKS

DROP_SHARE = 0.3
"""Share of a batch in which items are dropped; half this share loses the recalled latents."""
MIXING_SHARE = 0.3
"""Share of a batch in which half of the items are replaced by those of other contexts."""

Batch = tuple[Tensor, Tensor]
"""Values and mask, float `[B, 4096]` both."""


class ContextBatches(Dataset[Batch]):
    """One epoch of an endless, augmented stream of batches that starts at batch `start`.

    A batch depends only on its number and the configured seed.
    """

    def __init__(self, values: Tensor, mask: Tensor, config: TrainingConfig, start: int):
        self.values, self.mask, self.config, self.start = values, mask, config, start

    def __len__(self) -> int:
        return self.config.epoch

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng((self.config.seed, self.start + index))
        chosen = torch.from_numpy(rng.integers(len(self.values), size=self.config.batch))
        return augment(self.values[chosen], self.mask[chosen], rng)


def augment(values: Tensor, mask: Tensor, rng: np.random.Generator) -> Batch:
    """Return contexts and masks `[B, 4096]` with some items dropped or taken from other contexts.

    A few clips contain few combinations of items; this produces more of them.
    """
    values, mask = values.clone(), mask.clone()
    other = torch.from_numpy(rng.permutation(len(values)))
    count = BLOCKS[ITEM_BLOCKS[0]].count
    mixed = torch.from_numpy(
        (rng.random((len(values), 1)) < MIXING_SHARE) & (rng.random((len(values), count)) < 0.5)
    )
    kept = np.where(
        rng.random(len(values)) < DROP_SHARE, rng.integers(1, count, len(values)), count
    )
    dropped = torch.from_numpy(np.arange(count)[None, :] >= kept[:, None])
    for name in ITEM_BLOCKS:
        rows, known = BLOCKS[name].rows(values), BLOCKS[name].rows(mask)
        other_rows, other_known = rows[other], known[other]
        rows[mixed], known[mixed] = other_rows[mixed], other_known[mixed]
        known[dropped] = 0
    without_recall = torch.from_numpy(rng.random(len(values)) < DROP_SHARE / 2)
    BLOCKS['semantic.recall'].rows(mask)[without_recall] = 0
    return values * mask, mask


def to_tensors(contexts: Contexts) -> tuple[Tensor, Tensor]:
    """Return values and masks of recorded contexts, float32 `[N, 4096]` both."""
    return torch.from_numpy(contexts.values), torch.from_numpy(contexts.mask.astype(np.float32))


class ContextDataModule(lightning.LightningDataModule):
    """Augmented contexts in epochs of a fixed number of steps, and held-out contexts unchanged."""

    def __init__(self, train: Contexts, validation: Contexts, config: TrainingConfig):
        super().__init__()
        self.contexts, self.config = train, config
        self.train, self.validation = to_tensors(train), to_tensors(validation)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of this epoch, which continue those of the previous one."""
        assert self.trainer is not None
        start = self.trainer.current_epoch * self.config.epoch
        return DataLoader(ContextBatches(*self.train, self.config, start), None)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return the held-out contexts as one batch: their variance is about their own mean."""
        return DataLoader(TensorDataset(*self.validation), len(self.validation[0]))
