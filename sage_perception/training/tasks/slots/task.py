# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The task of slot models, family `slots`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from sage_perception.models import artifact
from sage_perception.models.networks.memory_format import with_memory_format
from sage_perception.models.networks.slots import SlotModel
from sage_perception.training.config import ConfigError, RunConfig, ScenesConfig
from sage_perception.training.data.images import to_model
from sage_perception.training.export.folder import finalize, round_weights, save_tensors
from sage_perception.training.export.onnx_graph import ExportWrapper, to_onnx
from sage_perception.training.runs import load_or_new, load_run
from sage_perception.training.task import Task
from sage_perception.training.tasks.slots.data import CHANNELS, SceneDataModule
from sage_perception.training.tasks.slots.module import SlotsModule


class SlotsTask(Task[SceneDataModule]):
    """Train on generated scenes."""

    def data(self) -> SceneDataModule:
        """Generate the scenes, or read them from the cache. Raises `ConfigError`."""
        data = SceneDataModule(scenes_section(self.config), self.config.training)
        if data.size != self.config.model.img_size:
            raise ConfigError(
                f'model.img_size is {self.config.model.img_size}, but the scenes '
                f'{data.config.set} have {data.size}: set it to {data.size}'
            )
        return data

    def module(self, data: SceneDataModule, run: Path) -> SlotsModule:
        """Return a new module, or that of the checkpoint."""
        model = load_or_new(self.config, run, SlotModel)
        return SlotsModule(model, self.config.training, data.config)

    def export(self, run: Path, folder: Path) -> None:
        """Write the model folder of a run, without its card. Raises `ConfigError`."""
        model = load_run(self.config, run, SlotModel).float().eval()
        export_model(self.config, model, held_out_slots(model, self.data()), folder)


def export_model(config: RunConfig, model: SlotModel, slots: Tensor, folder: Path) -> None:
    """Write the model folder of a trained network, without its card.

    `slots`, float `[N, D]`, are those of held-out images; their statistics are stored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = with_memory_format(model, torch.contiguous_format)
    tensors = round_weights(model) | {
        artifact.LATENT_MEAN: slots.mean(0).numpy().copy(),
        artifact.LATENT_STD: slots.std(0).clamp_min(1e-6).numpy().copy(),
    }
    save_tensors(tensors, folder / artifact.WEIGHTS)
    write_graphs(model, folder)
    files = [artifact.WEIGHTS, artifact.ENCODER, artifact.TRACKER, artifact.DECODER]
    finalize(folder, config, asdict(model.config), tensors, files)


def write_graphs(model: SlotModel, folder: Path) -> None:
    """Write the ONNX graphs of a model: first frames, later frames, and the decoder."""
    config = model.config
    x = torch.zeros(2, config.input_channels, config.img_size, config.img_size)
    slots = torch.randn(2, config.slots, config.slot_dim)
    outputs = ['slots', 'attention']
    for method, file, name in (
        ('refine', artifact.ENCODER, 'start'),
        ('attend', artifact.TRACKER, 'previous'),
    ):
        to_onnx(ExportWrapper(model, method), [x, slots], folder / file, ['x', name, *outputs])
    # An input that the graph does not use would be dropped with its name.
    inputs, names = [slots], ['slots']
    if config.masks == 'attention':
        inputs.append(torch.full((2, config.slots, config.token_grid**2), 1 / config.slots))
        names.append('attention')
    decoded = ['image', 'images', 'masks']
    to_onnx(ExportWrapper(model, 'compose'), inputs, folder / artifact.DECODER, [*names, *decoded])


def scenes_section(config: RunConfig) -> ScenesConfig:
    """Return the section `scenes`. Raises `ConfigError` if there is none."""
    if config.scenes is None:
        raise ConfigError(f'scenes is missing in the configuration of {config.name}')
    return config.scenes


def held_out_slots(model: SlotModel, data: SceneDataModule) -> Tensor:
    """Return the slots of held-out scenes, float32 `[N, D]`."""
    torch.manual_seed(0)
    x = torch.from_numpy(to_model(data.validation.image[:, 0], CHANNELS))
    with torch.inference_mode():
        return torch.cat([model.attend(part)[0].flatten(0, 1) for part in x.split(64)])
