# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Train a TinyVAE as a configuration file says: `sage train config/train/tinyvae.yaml`."""

from __future__ import annotations

import argparse
import logging
import math
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, mse_loss
from torch.utils.data import DataLoader

from sage_perception.models.tinyvae import GRID, TinyVAE
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
    """A TinyVAE and how it learns."""

    def __init__(self, model: TinyVAE, config: TrainingConfig):
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)
        self.config = config

    def training_step(self, x: Tensor, _) -> Tensor:
        """Return the loss of a batch, float `[B, C, S, S]`.

        Its noise depends on the step's number alone, so that a resumed run is the same.
        """
        torch.manual_seed(self.config.seed * 1_000_003 + self.global_step)
        x = x.contiguous(memory_format=torch.channels_last)
        y, mean, log_var = self.model(x)
        mse = mse_loss(y, x)
        kl = losses.kl_divergence(mean, log_var).sum(1).mean()
        loss = mse + self.config.beta * kl
        if self.global_step >= self.config.ssim_from * self.config.steps:
            loss = loss + self.config.ssim_weight * (1 - losses.ssim(y, x).mean())
        self.log_dict({'loss': loss, 'mse': mse, 'kl': kl}, prog_bar=True)
        return loss

    def validation_step(self, x: Tensor, _) -> None:
        """Log how held-out crops come back."""
        y = self.model.reconstruct(x)
        scores = {'psnr': losses.psnr(y, x), 'ssim': losses.ssim(y, x)}
        self.log_dict({f'val_{k}': v.mean() for k, v in scores.items()}, prog_bar=True)

    def configure_optimizers(self):
        """Return AdamW with a warm-up and a cosine decay (Loshchilov and Hutter, 2017)."""
        optimizer = torch.optim.AdamW(
            self.parameters(), self.config.learning_rate, weight_decay=self.config.weight_decay
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


def start_from_components(model: TinyVAE, crops: np.ndarray) -> None:
    """Set the linear paths to the principal components of crops, float32 `[N, C, S, S]`.

    The components keep their orthogonality and are scaled together, so that the latents'
    variances are 1 on average and distances between latents are distances between thumbnails.
    """
    small = adaptive_avg_pool2d(torch.from_numpy(crops), GRID).flatten(1).numpy()
    fitted = pca.fit(small, model.config.latent_dim)
    latents = (small - fitted.mean) @ fitted.components.T
    scale = np.float32(1 / np.sqrt(latents.var(0).mean()))
    model.init_linear(torch.from_numpy(fitted.mean), torch.from_numpy(fitted.components * scale))


def load_run(config: RunConfig, run: Path) -> TinyVAE:
    """Return the network of a run's last checkpoint, with its averaged weights."""
    path = run / 'last.ckpt'
    if not path.is_file():
        raise ConfigError(f'{path} is missing: train first, sage train CONFIG --out {run}')
    checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    weights = {k.removeprefix('model.'): v for k, v in checkpoint['state_dict'].items()}
    model = TinyVAE(config.model)
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
    if resume:
        model = load_run(config, out)
    else:
        model = TinyVAE(config.model)
        start_from_components(model, varied_crops(crops, config))
    trainee = Trainee(model, config.training)
    checkpoint = ModelCheckpoint(out, 'last', enable_version_counter=False)
    trainer = lightning.Trainer(
        accelerator='auto',
        devices=1,
        max_epochs=config.training.steps // config.training.epoch,
        callbacks=[
            EMAWeightAveraging(decay=config.training.ema),
            checkpoint,
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
