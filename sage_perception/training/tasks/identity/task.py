# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The task of identity heads, family `identity`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch

from sage_perception.core.discrimination import threshold_at
from sage_perception.models import Codec, artifact, identity, load_crop_codec
from sage_perception.models.networks.identity import IdentityCode, IdentityHead
from sage_perception.models.registry import resolve
from sage_perception.training.config import ConfigError
from sage_perception.training.export.folder import round_weights
from sage_perception.training.export.onnx_graph import to_onnx
from sage_perception.training.runs import CHECKPOINT, load_run
from sage_perception.training.task import Task
from sage_perception.training.tasks.identity.data import ViewDataModule, encoded_views
from sage_perception.training.tasks.identity.module import IdentityModule
from sage_perception.training.trust.calibrate import calibrate_weights

THRESHOLD_SCENES = 400
"""Training scenes that the thresholds are fitted to."""
FALSE_POSITIVE_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Rates of which an exported head has the thresholds."""


class IdentityTask(Task[ViewDataModule]):
    """Train a head on the latents of the model `encoder`."""

    def codec(self) -> Codec:
        """Return the model of the latents. Raises `ConfigError` or `ModelError`."""
        codec = load_crop_codec(self.config.encoder)
        if codec.latent_dim != self.config.model.latent_dim:
            raise ConfigError(
                f'model.latent_dim is {self.config.model.latent_dim}, but latents of {codec.id} '
                f'have {codec.latent_dim} dimensions'
            )
        return codec

    def data(self) -> ViewDataModule:
        """Cut and encode the views. Raises `ConfigError` or `ModelError`."""
        return ViewDataModule.of(self.config, self.codec())

    def module(self, data: ViewDataModule, run: Path) -> IdentityModule:
        """Return a new module, or that of the checkpoint."""
        if (run / CHECKPOINT).exists():
            return IdentityModule(load_run(self.config, run, IdentityHead), self.config.training)
        head = IdentityHead(self.config.model)
        latents = data.train.flatten(0, 2)
        head.mean.copy_(latents.mean(0))
        head.std.copy_(latents.std(0))
        return IdentityModule(head, self.config.training)

    def export(self, run: Path, folder: Path) -> None:
        """Write the head of a run to the folder of the model that it was trained for.

        A folder that does not exist becomes a copy of that model. Raises `ConfigError` if the
        folder holds another model.
        """
        codec = self.codec()
        if not folder.exists():
            shutil.copytree(resolve(self.config.encoder), folder)
        if artifact.read(folder).id.fingerprint != codec.id.fingerprint:
            raise ConfigError(
                f'{folder} has another latent space than {codec.id}, which the head was trained '
                'for: choose the folder of that model, or one that does not exist'
            )
        weights = torch.from_numpy(calibrate_weights(codec, self.config.data)).float()
        code = IdentityCode(load_run(self.config, run, IdentityHead), weights).eval()
        tensors = round_weights(code)
        views = encoded_views(self.config, codec, False, THRESHOLD_SCENES)
        with torch.inference_mode():
            codes = code(torch.from_numpy(views).flatten(0, 2)).unflatten(0, views.shape[:3])
        cosines = np.einsum('bpc,bqc->bpq', codes[:, :, 0], codes[:, :, 1])
        others = cosines[:, ~np.eye(cosines.shape[1], dtype=bool)].ravel()
        thresholds = {rate: threshold_at(others, rate) for rate in FALSE_POSITIVE_RATES}
        to_onnx(code, [torch.zeros(2, codec.latent_dim)], folder / identity.GRAPH, ['z', 'code'])
        identity.write(folder, codec.id.fingerprint, tensors, thresholds)
