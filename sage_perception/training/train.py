# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Train a model as a configuration file says: `sage train config/train/tinyvae.yaml`."""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader

from sage_perception.models import artefact
from sage_perception.models.families import FAMILIES
from sage_perception.models.registry import resolve
from sage_perception.training import losses, pca
from sage_perception.training.config import ConfigError, RunConfig, TrainingConfig, read_config
from sage_perception.training.data import CropStream, Mixture, mixture, to_model


class CropData(lightning.LightningDataModule):
    """Endless varied crops in epochs of a fixed number of steps; fixed ones to validate on."""

    def __init__(self, train: Mixture, validation: Mixture, channels: int, config: TrainingConfig):
        super().__init__()
        self.train, self.channels, self.config = train, channels, config
        crops = validation.sample(config.validation_crops, seed=0)
        self.validation = torch.from_numpy(to_model(crops, channels))

    def train_dataloader(self) -> DataLoader:
        """Return this epoch's crops: the stream goes on where the last epoch ended."""
        count = self.config.epoch * self.config.batch
        start = self.trainer.current_epoch * count
        stream = CropStream(self.train, self.channels, self.config.seed, start, count)
        return DataLoader(stream, self.config.batch)

    def val_dataloader(self) -> DataLoader:
        """Return the crops to validate on."""
        return DataLoader(self.validation, self.config.batch)


class Trainee(lightning.LightningModule):
    """A network and how it learns; its encoder learns only if its parameters want gradients."""

    def __init__(self, model: nn.Module, config: TrainingConfig):
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)
        self.config = config

    def training_step(self, x: Tensor, _) -> Tensor:
        """Return the loss of a batch, float `[B, C, S, S]`.

        Its noise depends on the step's number alone, so that a resumed run is the same.
        """
        torch.manual_seed(self.config.seed * 1_000_003 + self.global_step)
        x = x.contiguous(memory_format=torch.channels_last)
        terms = self.terms(x)
        loss = sum(terms.values())
        self.log_dict({'loss': loss, **terms}, prog_bar=True)
        return loss

    def terms(self, x: Tensor) -> dict[str, Tensor]:
        """Return the weighted parts of the loss by name, of a batch `[B, C, S, S]`."""
        y, mean, log_var = self.model(x)
        kl = losses.kl_divergence(mean, log_var).flatten(1).sum(1).mean()
        terms = {'mse': mse_loss(y, x), 'kl': self.config.beta * kl}
        if self.global_step >= self.config.ssim_from * self.config.steps:
            terms['ssim'] = self.config.ssim_weight * (1 - losses.ssim(y, x).mean())
        return terms

    def validation_step(self, x: Tensor, _) -> None:
        """Log how held-out crops come back."""
        y = self.model.reconstruct(x)
        scores = {'psnr': losses.psnr(y, x), 'ssim': losses.ssim(y, x)}
        self.log_dict({f'val_{k}': v.mean() for k, v in scores.items()}, prog_bar=True)

    def configure_optimizers(self):
        """Return AdamW with a warm-up and a cosine decay (Loshchilov and Hutter, 2017)."""
        optimizer = torch.optim.AdamW(
            [p for p in self.parameters() if p.requires_grad],
            self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )

        def factor(step):
            warm = min((step + 1) / self.config.warmup, 1)
            return warm * 0.5 * (1 + math.cos(math.pi * min(step / self.config.steps, 1)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': schedule, 'interval': 'step'},
        }


def varied_crops(crops: Mixture, config: RunConfig) -> np.ndarray:
    """Return crops to fit principal components to, float32 `[N, C, S, S]`, varied as in training.

    The variation makes components that fit other pictures better: a fairer baseline too.
    """
    count = config.training.fitted_crops
    stream = CropStream(crops, config.model.input_channels, config.training.seed, 0, count)
    return np.stack([stream[index] for index in range(count)])


def new_model(config: RunConfig, crops: Mixture) -> nn.Module:
    """Return the network to train: at the principal components, or with a model's encoder."""
    model = FAMILIES[config.family].network(config.model)
    if config.encoder:
        keep_encoder(model, config.encoder)
    elif hasattr(model, 'init_linear'):
        start_from_components(model, varied_crops(crops, config))
    return model


def keep_encoder(model: nn.Module, name: str) -> None:
    """Give a network the encoder of a model, by name or folder, and let it not be trained."""
    known = artefact.read(resolve(name))
    prefix = 'encoder.'
    weights = {
        key.removeprefix(prefix): torch.from_numpy(value)
        for key, value in known.tensors.items()
        if key.startswith(prefix)
    }
    try:
        model.encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f'encoder: {known.id} is not what model says: {error}') from None
    model.encoder.requires_grad_(False)


def start_from_components(model: nn.Module, crops: np.ndarray) -> None:
    """Set the linear paths to the principal components of crops, float32 `[N, C, S, S]`.

    The components keep their orthogonality and are scaled together, so that the latents'
    variances are 1 on average and distances between latents are distances between thumbnails.
    """
    with torch.no_grad():
        small = model.encoder.thumbnail(torch.from_numpy(crops)).numpy()
    fitted = pca.fit(small, model.config.latent_dim)
    latents = (small - fitted.mean) @ fitted.components.T
    scale = np.float32(1 / np.sqrt(latents.var(0).mean()))
    model.init_linear(torch.from_numpy(fitted.mean), torch.from_numpy(fitted.components * scale))


def load_run(config: RunConfig, run: Path) -> nn.Module:
    """Return the network of a run's last checkpoint, with its averaged weights."""
    path = run / 'last.ckpt'
    if not path.is_file():
        raise ConfigError(f'{path} is missing: train first, sage train CONFIG --out {run}')
    checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    prefix = 'model.'
    weights = {
        k.removeprefix(prefix): v
        for k, v in checkpoint['state_dict'].items()
        if k.startswith(prefix)
    }
    model = FAMILIES[config.family].network(config.model)
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise ConfigError(
            f'{path} is of a model with another configuration: take the one it was trained with, '
            'or another run folder'
        ) from None
    return model


def train(config: RunConfig, out: Path, progress: bool = True) -> Trainee:
    """Train, or go on with what `out/last.ckpt` holds; leave the checkpoint and metrics there.

    Returns the trained module with the averaged weights.
    """
    cv2.setNumThreads(1)
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
    warnings.filterwarnings('ignore', 'Checkpoint directory .* not empty', UserWarning)
    lightning.seed_everything(config.training.seed, verbose=False)
    out.mkdir(parents=True, exist_ok=True)
    crops = mixture(config.data, config.model.img_size)
    held_out = mixture(config.data, config.model.img_size, held_out=True)
    resume = out / 'last.ckpt' if (out / 'last.ckpt').exists() else None
    trainee = Trainee(
        load_run(config, out) if resume else new_model(config, crops), config.training
    )
    if resume and config.encoder:
        trainee.model.encoder.requires_grad_(False)
    checkpoint = ModelCheckpoint(out, 'last', enable_version_counter=False)
    trainer = lightning.Trainer(
        accelerator='auto',
        devices=int(os.environ.get('LOCAL_WORLD_SIZE', 1)),  # which torchrun sets
        precision=config.training.precision,
        max_epochs=config.training.steps // config.training.epoch,
        callbacks=[
            EMAWeightAveraging(decay=config.training.ema),
            checkpoint,
            *patience(config.training),
            *([TQDMProgressBar(refresh_rate=10)] if progress else []),
        ],
        logger=[CSVLogger(out, 'csv'), TensorBoardLogger(out, 'tensorboard', '')],
        log_every_n_steps=min(25, config.training.epoch),
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=progress,
        enable_model_summary=False,
    )
    data = CropData(crops, held_out, config.model.input_channels, config.training)
    trainer.fit(trainee, data, ckpt_path=resume)
    return trainee


def patience(config: TrainingConfig) -> list[EarlyStopping]:
    """Return what ends a run that no longer improves, if that is wanted."""
    if not config.patience:
        return []
    return [EarlyStopping('val_psnr', patience=config.patience, mode='max')]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage train`; return the exit code."""
    parser = argparse.ArgumentParser(prog='sage train', description=__doc__)
    parser.add_argument('config', type=Path, help='such as config/train/tinyvae.yaml')
    parser.add_argument('--out', type=Path, help='run folder, out/train/NAME unless given')
    args = parser.parse_args(argv)
    try:
        config = read_config(args.config)
        out = args.out or Path('out/train') / config.name
        train(config, out)
    except (ConfigError, FileNotFoundError) as error:
        print(f'sage train: {error}', file=sys.stderr)
        return 2
    print(f'trained: {out}/last.ckpt. Next: sage export {args.config} --run {out} --to DIR')
    return 0


if __name__ == '__main__':
    sys.exit(main())
