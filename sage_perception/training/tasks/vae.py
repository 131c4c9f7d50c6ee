# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The task of variational autoencoders for images, families `tinyvae` and `lightweight`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from sage_perception.models import artifact, pca
from sage_perception.models.networks.families import FAMILIES
from sage_perception.models.networks.lightweight import LightweightVAE
from sage_perception.models.networks.memory_format import with_memory_format
from sage_perception.models.networks.vae import VAE
from sage_perception.models.registry import resolve
from sage_perception.training.config import RunConfig
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture, mixture
from sage_perception.training.data.stream import CropDataModule, augmented_crops
from sage_perception.training.export.folder import finalize, round_weights, save_tensors
from sage_perception.training.export.onnx_graph import ExportWrapper, to_onnx
from sage_perception.training.module import TrainingModule
from sage_perception.training.runs import CHECKPOINT, freeze_encoder, load_run
from sage_perception.training.task import Task
from sage_perception.training.tasks.vae_module import VaeModule


class VaeTask(Task[CropDataModule]):
    """Train on crops of images, clips and bags."""

    def data(self) -> CropDataModule:
        """Read the training and the held-out files. Raises `ConfigError`."""
        return CropDataModule.of(self.config)

    def module(self, data: CropDataModule, run: Path) -> TrainingModule:
        """Return a module initialized from principal components, or that of the checkpoint."""
        return VaeModule(self.network(data.train, run), self.config.training)

    def network(self, crops: Mixture, run: Path) -> VAE:
        """Return a new network, or the network of the last checkpoint in the folder `run`."""
        if (run / CHECKPOINT).exists():
            return load_run(self.config, run, VAE)
        return new_network(self.config, crops)

    def export(self, run: Path, folder: Path) -> None:
        """Write the model folder of a run, without its card. Raises `ConfigError`."""
        config = self.config
        model = load_run(config, run, VAE)
        crops = mixture(config.data, config.model.img_size)
        sample = crops.sample(config.training.fitted_crops, seed=1)
        x = to_model(sample, config.model.input_channels)
        write_folder(folder, config, model, x, fit_pca(model, augmented_crops(crops, config)))


def new_network(config: RunConfig, crops: Mixture) -> VAE:
    """Return a network initialized from principal components, or from the encoder of a model."""
    model = FAMILIES[config.family].network(config.model)
    assert isinstance(model, VAE)
    if config.encoder:
        start_from_model(model, config.encoder)
    else:
        model.init_from_crops(torch.from_numpy(augmented_crops(crops, config)))
    return model


def start_from_model(model: VAE, name: str) -> None:
    """Copy the encoder of a model, by name or folder, and freeze it.

    Parameters with the same name and shape in both decoders, such as those of the linear path,
    are copied, too.
    """
    source = artifact.read(resolve(name))
    freeze_encoder(model, source)
    own, family = model.state_dict(), FAMILIES[source.family]
    tensors = {family.current_name(key): value for key, value in source.tensors.items()}
    shared = {
        key: torch.from_numpy(value)
        for key, value in tensors.items()
        if key in own and value.shape == own[key].shape
    }
    model.load_state_dict(shared, strict=False)


def latent_statistics(config: RunConfig, model: VAE, crops: np.ndarray) -> dict[str, np.ndarray]:
    """Return mean and standard deviation of the latents of crops, float32 `[N, C, S, S]`.

    With `encoder` set, the statistics are those of that model, which has the same latent space.
    The statistics of a latent `[K, H, W]` are those of its K maps, equal at all positions.
    """
    if config.encoder:
        source = artifact.read(resolve(config.encoder)).tensors
        return {name: source[name] for name in (artifact.LATENT_MEAN, artifact.LATENT_STD)}
    with torch.inference_mode():
        latents = torch.cat(
            [model.get_latents(part) for part in torch.from_numpy(crops).split(64)]
        )
    over = (0, *range(2, latents.ndim))
    shape = latents.shape[1:]
    return {
        artifact.LATENT_MEAN: latents.mean(over, keepdim=True)[0].expand(shape).numpy().copy(),
        artifact.LATENT_STD: latents.std(over, keepdim=True)[0].expand(shape).numpy().copy(),
    }


def fit_pca(model: VAE, crops: np.ndarray) -> pca.Pca:
    """Return as many principal components of crops, float32 `[N, C, S, S]`, as the latent has.

    For a spatial latent these are the components of the block of one position.
    """
    if isinstance(model, LightweightVAE):
        return pca.fit(model.blocks(torch.from_numpy(crops)).numpy(), model.config.latent_channels)
    return pca.fit(crops, model.config.latent_dim)


def write_folder(
    folder: Path, config: RunConfig, model: VAE, crops: np.ndarray, baseline: pca.Pca
) -> None:
    """Write a model folder, without its card.

    `crops` are training crops, float32 `[N, C, S, S]`, and `baseline` their principal components.
    Weights are rounded to half precision, which halves the size of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = with_memory_format(model.float().eval(), torch.contiguous_format)
    tensors = round_weights(model) | latent_statistics(config, model, crops)
    save_tensors(tensors, folder / artifact.WEIGHTS)
    components = {'mean': baseline.mean, 'components': baseline.components}
    save_tensors({k: v.astype(np.float16) for k, v in components.items()}, folder / artifact.PCA)
    size = model.config.img_size
    image = torch.zeros(2, model.config.input_channels, size, size)
    latent = torch.zeros(2, *tensors[artifact.LATENT_MEAN].shape)
    encoder, decoder = folder / artifact.ENCODER, folder / artifact.DECODER
    to_onnx(ExportWrapper(model, 'encode'), [image], encoder, ['x', 'mean', 'log_var'])
    to_onnx(ExportWrapper(model, 'decode'), [latent], decoder, ['z', 'y'])
    files = [artifact.WEIGHTS, artifact.ENCODER, artifact.DECODER, artifact.PCA]
    finalize(folder, config, asdict(model.config), tensors, files)
