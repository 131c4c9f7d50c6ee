# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The task of networks of codes, family `codes`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from sage_perception.models import ModelError, artifact
from sage_perception.models.networks.codes import Codes
from sage_perception.models.networks.memory_format import with_memory_format
from sage_perception.models.registry import load_semantic
from sage_perception.models.semantic.semantic_text import SemanticText
from sage_perception.training.config import ConfigError, RunConfig
from sage_perception.training.export.folder import finalize, round_weights, save_tensors
from sage_perception.training.export.onnx_graph import to_onnx
from sage_perception.training.runs import load_or_new, load_run
from sage_perception.training.task import Task
from sage_perception.training.tasks.codes.data import CodesDataModule
from sage_perception.training.tasks.codes.module import CodesModule


class CodesTask(Task[CodesDataModule]):
    """Train a network on views of places and on the codes of the model `encoder`."""

    def teacher(self) -> SemanticText:
        """Return the model of the codes. Raises `ConfigError` if it is none."""
        try:
            return load_semantic(self.config.encoder)
        except ModelError as error:
            raise ConfigError(f'encoder: {error}') from error

    def data(self) -> CodesDataModule:
        """Cut the crops and compute the codes. Raises `ConfigError` or `ModelError`."""
        return CodesDataModule.of(self.config, self.teacher())

    def module(self, data: CodesDataModule, run: Path) -> CodesModule:
        """Return a new module, or that of the checkpoint."""
        model = load_or_new(self.config, run, Codes)
        return CodesModule(model, self.config.training)

    def export(self, run: Path, folder: Path) -> None:
        """Write the model folder of a run, without its card. Raises `ConfigError`."""
        model = load_run(self.config, run, Codes)
        write_model(model, self.config, self.teacher().semantic_space, folder)


def write_model(model: Codes, config: RunConfig, space: bytes, folder: Path) -> None:
    """Write weights, graph and configuration of a network whose semantic codes are in `space`."""
    folder.mkdir(parents=True, exist_ok=True)
    model = with_memory_format(model.float().eval(), torch.contiguous_format)
    tensors = {
        f'encoder.{name}': values
        for name, values in round_weights(model).items()
        if values.ndim  # batch normalization stores a count of batches, too
    }
    save_tensors(tensors, folder / artifact.WEIGHTS)
    x = torch.zeros(2, model.config.input_channels, model.config.img_size, model.config.img_size)
    to_onnx(model, [x], folder / artifact.ENCODER, ['x', 'identity', 'semantic'])
    settings = asdict(model.config) | {'space': space.hex()}
    finalize(folder, config, settings, tensors, [artifact.WEIGHTS, artifact.ENCODER])
