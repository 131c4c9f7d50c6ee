# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Masked-slot training, in BERT's way: predict hidden slots of a video from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sage_perception.models import artifact
from sage_perception.models.networks.slots import TemporalTransformer
from sage_perception.models.networks.slots.temporal import last_visible
from sage_perception.models.registry import load_slot_encoder
from sage_perception.slots.sequences import slot_sequences
from sage_perception.training.config import ConfigError, RunConfig
from sage_perception.training.data.objects.pool import scenes
from sage_perception.training.export.folder import finalize, round_weights, save_tensors
from sage_perception.training.export.onnx_graph import ExportWrapper, to_onnx
from sage_perception.training.module import TrainingModule
from sage_perception.training.runs import load_or_new, load_run
from sage_perception.training.task import Task
from sage_perception.training.tasks.slots.data import HELD_OUT_SEED
from sage_perception.training.tasks.slots.task import scenes_section

HIDDEN_SHARE = 0.2
"""Share of the slots of a training step that is hidden."""
MAX_SPAN = 12
"""Frames that a slot is hidden for at most, in training."""


def hidden_spans(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Return which slots `[B, T, K]` to hide: spans of 1 to `MAX_SPAN` frames of single slots."""
    _, frames, count = shape
    hidden = np.zeros(shape, bool)
    longest = min(MAX_SPAN, frames - 1)
    spans = max(round(HIDDEN_SHARE * frames * count / ((1 + longest) / 2)), 1)
    for video in hidden:
        for _ in range(spans):
            length = int(rng.integers(1, longest + 1))
            start = int(rng.integers(1, frames - length + 1))
            video[start : start + length, rng.integers(count)] = True
    return hidden


def middle_span(shape: tuple[int, int, int]) -> np.ndarray:
    """Return `[B, T, K]` with a span in the middle hidden: 12 frames of 24, every third slot."""
    frames = shape[1]
    hidden = np.zeros(shape, bool)
    hidden[:, frames // 4 : frames // 4 + frames // 2, ::3] = True
    return hidden


class SequenceBatches(Dataset[tuple[Tensor, Tensor]]):
    """One epoch of batches from batch `start`: slots `[B, T, K, D]`, hidden `[B, T, K]`."""

    def __init__(self, slots: Tensor, config: RunConfig, start: int) -> None:
        self.slots, self.config, self.start = slots, config.training, start

    def __len__(self) -> int:
        return self.config.epoch

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.config.seed, self.start + index))
        chosen = rng.integers(len(self.slots), size=self.config.batch)
        slots = self.slots[torch.from_numpy(chosen)]
        slots = slots[:, :, torch.from_numpy(rng.permutation(slots.shape[2]))]
        shape = (len(chosen), slots.shape[1], slots.shape[2])
        return slots, torch.from_numpy(hidden_spans(rng, shape))


class SequenceDataModule(lightning.LightningDataModule):
    """Normalized slots of generated videos by a frozen slot model, and of held-out ones."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self.config = config
        section = scenes_section(config)
        if not section.set.startswith('moving'):
            raise ConfigError(f'scenes.set is {section.set}: slot_sequences requires videos')
        assert section.set != 'photographs'  # does not start with moving
        model = load_slot_encoder(config.encoder)
        if model.latent_dim != config.model.slot_dim:
            raise ConfigError(
                f'model.slot_dim is {config.model.slot_dim}, but {model.id} has '
                f'{model.latent_dim}: set it to {model.latent_dim}'
            )
        self.slots, self.held_out = (
            torch.from_numpy(
                (slot_sequences(model, scenes(section.set, count, seed).image) - model.latent_mean)
                / model.latent_std
            )
            for count, seed in ((section.count, 0), (section.held_out, HELD_OUT_SEED))
        )

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the batches of this epoch, which continue those of the previous one."""
        assert self.trainer is not None
        start = self.trainer.current_epoch * self.config.training.epoch
        return DataLoader(SequenceBatches(self.slots, self.config, start), None)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return the held-out videos, with half of the frames of every third slot hidden."""
        shape = self.held_out.shape[0], self.held_out.shape[1], self.held_out.shape[2]
        hidden = torch.from_numpy(middle_span(shape))
        return DataLoader(TensorDataset(self.held_out, hidden), len(self.held_out))


class SequenceModule(TrainingModule):
    """A temporal transformer in training; every second step is causal."""

    MONITOR = 'val_gain'
    model: TemporalTransformer

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        """Return the error of the hidden slots."""
        slots, hidden = batch
        predicted = self.model(slots, hidden, causal=self.global_step % 2 == 0)
        loss = (predicted - slots)[hidden].square().mean()
        self.log('loss', loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Sequence[Tensor], _: int) -> None:
        """Log the share of the error of the last visible slot that the prediction removes."""
        slots, hidden = batch
        last = last_visible(slots, hidden, self.model.hidden)
        before = (last - slots)[hidden].square().mean()
        for name, causal in (('val_gain', False), ('val_gain_causal', True)):
            error = (self.model(slots, hidden, causal) - slots)[hidden].square().mean()
            self.log(name, 1 - error / before, prog_bar=True)


class CausalPredictor(nn.Module):
    """The causal transformer with normalized inputs and outputs, for export."""

    def __init__(self, model: TemporalTransformer) -> None:
        super().__init__()
        self.model = model

    def predict(self, slots: Tensor, hidden: Tensor) -> Tensor:
        """Return normalized slots `[B, T, K, D]`, the hidden ones predicted from earlier ones."""
        return self.model(slots, hidden > 0, causal=True)


class SlotSequencesTask(Task[SequenceDataModule]):
    """Train on the slots of generated videos."""

    def data(self) -> SequenceDataModule:
        """Compute the slots of the videos. Raises `ConfigError` and `ModelError`."""
        return SequenceDataModule(self.config)

    def module(self, data: SequenceDataModule, run: Path) -> SequenceModule:
        """Return a new module, or that of the checkpoint."""
        model = load_or_new(self.config, run, TemporalTransformer)
        return SequenceModule(model, self.config.training)

    def export(self, run: Path, folder: Path) -> None:
        """Write the model folder of a run, without its card. Raises `ConfigError`."""
        model = load_run(self.config, run, TemporalTransformer).float().eval()
        folder.mkdir(parents=True, exist_ok=True)
        source = load_slot_encoder(self.config.encoder)
        tensors = round_weights(model) | {
            artifact.LATENT_MEAN: source.latent_mean,
            artifact.LATENT_STD: source.latent_std,
        }
        save_tensors(tensors, folder / artifact.WEIGHTS)
        frames = scenes_section(self.config).frames
        slots = torch.zeros(2, frames, source.slot_count, source.latent_dim)
        inputs = [slots, torch.zeros(slots.shape[:3])]
        graph = ExportWrapper(CausalPredictor(model), 'predict')
        to_onnx(graph, inputs, folder / artifact.ENCODER, ['slots', 'hidden', 'predicted'])
        settings = {**asdict(model.config), 'frames': frames, 'encoder': source.id.name}
        finalize(folder, self.config, settings, tensors, [artifact.WEIGHTS, artifact.ENCODER])
