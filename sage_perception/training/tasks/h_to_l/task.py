# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The task of compressors of H contexts, family `h_to_l`.

Contexts are recorded before the first training that needs them and are kept in `CACHE`. A
change of encoder, files, layout or trust calibration records them again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sage_perception.context.layout import LAYOUT
from sage_perception.models import Codec, artifact
from sage_perception.models.compressor import SPACE_MEAN, SPACE_STD
from sage_perception.models.networks.h_to_l import HToLCompressor
from sage_perception.models.networks.h_to_l.initialization import init_from_contexts
from sage_perception.models.registry import resolve
from sage_perception.training.config import ConfigError, ContextsConfig, RunConfig
from sage_perception.training.contexts.dataset import Contexts, joined
from sage_perception.training.contexts.plan import (
    RECIPE,
    Run,
    files_of,
    load_encoder,
    plan,
    record,
    recorded,
)
from sage_perception.training.data.files import file_filter
from sage_perception.training.export.folder import finalize, round_weights, save_tensors
from sage_perception.training.export.onnx_graph import ExportWrapper, to_onnx
from sage_perception.training.runs import CHECKPOINT, load_run
from sage_perception.training.task import Task
from sage_perception.training.tasks.h_to_l.data import ContextDataModule, to_tensors
from sage_perception.training.tasks.h_to_l.module import CompressorModule
from sage_perception.training.tasks.h_to_l.tokens import GROUPS, loss_weights
from sage_perception.trust.fitted import FittedTrust

CACHE = Path('out/data/contexts')
MIN_HELD_OUT_RUNS = 8
"""Minimum number of runs of each held-out clip, because there are few held-out clips."""


class HToLTask(Task[ContextDataModule]):
    """Train on contexts recorded from clips and images."""

    def data(self) -> ContextDataModule:
        """Record the contexts of the training and the held-out files, or read them from the cache.

        Raises `ConfigError`, `ModelError`, and `ValueError` if nothing moves in the clips.
        """
        train, held_out = (load_contexts(self.config, held_out) for held_out in (False, True))
        return ContextDataModule(train, held_out, self.config.training)

    def resolved_config(self, data: ContextDataModule) -> RunConfig:
        """Return the configuration with the layout and the latent space of the contexts."""
        return resolve_model(self.config, data.contexts)

    def module(self, data: ContextDataModule, run: Path) -> CompressorModule:
        """Return a module initialized from principal components, or that of the checkpoint.

        The held-out contexts do not affect the module.
        """
        config = self.resolved_config(data)
        weights = loss_weights(*data.train)
        if (run / CHECKPOINT).exists():
            model = load_run(config, run, HToLCompressor)
        else:
            model = HToLCompressor(config.model)
            init_from_contexts(model, *data.train, weights)
        return CompressorModule(model, config.training, weights)

    def export(self, run: Path, folder: Path) -> None:
        """Write the model folder of a run, without its card. Raises `ConfigError`."""
        contexts = load_contexts(self.config)
        config = resolve_model(self.config, contexts)
        write_folder(folder, config, load_run(config, run, HToLCompressor), contexts)


def contexts_section(config: RunConfig) -> ContextsConfig:
    """Return the section `contexts`. Raises `ConfigError` if there is none."""
    if config.contexts is None:
        raise ConfigError(f'contexts is missing in the configuration of {config.name}')
    return config.contexts


def load_contexts(config: RunConfig, held_out: bool = False) -> Contexts:
    """Return the contexts of the files of a configuration, or of its held-out files.

    Runs that `CACHE` holds are not recorded again. Raises `ConfigError`, `ModelError`, or
    `ValueError` if nothing moves.
    """
    section = contexts_section(config)
    codec = load_encoder(section.encoder)
    clips, images = files_of([Path(config.data.root)], file_filter(config.data, held_out))
    runs = max(section.runs, MIN_HELD_OUT_RUNS) if held_out else section.runs
    montages = section.montages // (3 if held_out else 1)
    names = [path.name for path in images]
    source = [RECIPE, LAYOUT, codec.id.fingerprint.hex(), trust_settings(codec), held_out]

    def cached(run: Run) -> Contexts | None:
        key = json.dumps([*source, run.name, run.repeat, names])
        path = CACHE / f'{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz'
        if not path.is_file():
            contexts = record(run, codec, int(held_out))
            if contexts is None:
                return None
            contexts.write(path)
        return Contexts.read(path)

    return joined(recorded(plan(clips, images, runs, montages), cached))


def trust_settings(codec: Codec) -> dict[str, Any] | None:
    """Return the part of the trust calibration of a model that contexts depend on."""
    fitted = FittedTrust.read(codec)
    if fitted is None:
        return None
    settings = asdict(fitted)
    del settings['quality']['margin']
    return settings


def resolve_model(config: RunConfig, contexts: Contexts) -> RunConfig:
    """Return a configuration whose model is defined for the layout and encoder of `contexts`."""
    model = replace(
        config.model,
        groups=config.model.groups or GROUPS,
        layout=LAYOUT,
        encoder=artifact.read(resolve(contexts_section(config).encoder)).id.name,
        latents=contexts.model,
    )
    return replace(config, model=model)


def latent_space(config: RunConfig) -> dict[str, np.ndarray]:
    """Return the statistics that scale latents to the unit of contexts, from their model."""
    source = artifact.read(resolve(contexts_section(config).encoder))
    if source.id.fingerprint.hex() != config.model.latents:
        raise ConfigError(f'the contexts were not recorded with {source.id}: train again')
    return {
        SPACE_MEAN: source.tensors[artifact.LATENT_MEAN],
        SPACE_STD: source.tensors[artifact.LATENT_STD],
    }


def write_folder(
    folder: Path, config: RunConfig, model: HToLCompressor, contexts: Contexts
) -> None:
    """Write the model folder of a compressor, without its card; weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    values, mask = to_tensors(contexts)
    model = model.float().eval()
    weights = round_weights(model)
    with torch.no_grad():  # unlike inference mode, the exporter can trace with the result
        codes = model.encode(values, mask)[0]
    weights |= {
        artifact.LATENT_MEAN: codes.mean(0).numpy(),
        artifact.LATENT_STD: codes.std(0).numpy(),
        **latent_space(config),
    }
    save_tensors(weights, folder / artifact.WEIGHTS)
    encoder_file, decoder_file = folder / artifact.ENCODER, folder / artifact.DECODER
    names = ['context', 'mask', 'mean', 'log_var']
    to_onnx(ExportWrapper(model, 'encode'), (values[:2], mask[:2]), encoder_file, names)
    to_onnx(ExportWrapper(model, 'decode'), (codes[:2],), decoder_file, ['z', 'context'])
    files = [artifact.WEIGHTS, artifact.ENCODER, artifact.DECODER]
    finalize(folder, config, asdict(model.config), weights, files)
