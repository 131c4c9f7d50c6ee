# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Turn a training run into a model folder: `sage export CONFIG --run DIR --to DIR`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.numpy import save_file
from torch import nn

from sage_perception.models import artefact
from sage_perception.models.tinyvae import TinyVAE
from sage_perception.training import pca
from sage_perception.training.config import ConfigError, read_config
from sage_perception.training.data import mixture, to_model
from sage_perception.training.train import load_run, varied_crops

OPSET = 17


class Decode(nn.Module):
    """`TinyVAE.decode` as a network of its own, for the exporter."""

    def __init__(self, model: TinyVAE):
        super().__init__()
        self.decoder = model.decoder

    def forward(self, z):
        """Map latents `[B, D]` to pictures `[B, C, S, S]` in [0, 1]."""
        return self.decoder(z).clamp(0, 1)


def to_onnx(module: nn.Module, example: torch.Tensor, path: Path, names: Sequence[str]) -> None:
    """Write a network as ONNX with any batch size; `names` are its input's and outputs'."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)  # the exporter by tracing is kept
        warnings.simplefilter('ignore', torch.jit.TracerWarning)  # of group_norm's own checks
        warnings.filterwarnings('ignore', 'Constant folding', UserWarning)
        torch.onnx.export(
            module.eval(),
            (example,),
            str(path),
            opset_version=OPSET,
            dynamo=False,
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={name: {0: 'batch'} for name in names},
        )


def write(
    folder: Path, name: str, version: str, model: TinyVAE, crops: np.ndarray, baseline: pca.Pca
) -> None:
    """Write a model folder, all but its card.

    `crops`, float32 `[N, C, S, S]`, are training crops from which the statistics of the latents
    are taken; `baseline` are their principal components.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = model.float().eval().to(memory_format=torch.contiguous_format)
    config = asdict(model.config)
    with torch.inference_mode():
        parts = torch.from_numpy(crops).split(256)
        latents = torch.cat([model.get_latents(part) for part in parts])
    tensors = {key: value.contiguous().numpy() for key, value in model.state_dict().items()}
    tensors[artefact.LATENT_MEAN] = latents.mean(0).numpy()
    tensors[artefact.LATENT_STD] = latents.std(0).numpy()
    save_file(tensors, folder / artefact.WEIGHTS)
    halves = {'mean': baseline.mean, 'components': baseline.components}
    save_file({k: v.astype(np.float16) for k, v in halves.items()}, folder / artefact.PCA)
    size = model.config.img_size
    picture = torch.zeros(2, model.config.input_channels, size, size)
    latent = torch.zeros(2, model.config.latent_dim)
    to_onnx(model.encoder, picture, folder / artefact.ENCODER, ['x', 'mean', 'log_var'])
    to_onnx(Decode(model), latent, folder / artefact.DECODER, ['z', 'y'])
    files = (artefact.WEIGHTS, artefact.ENCODER, artefact.DECODER, artefact.PCA)
    tree = {
        'name': name,
        'version': version,
        'family': 'tinyvae',
        'config': config,
        'fingerprint': artefact.fingerprint('tinyvae', config, tensors).hex(),
        'files': {file: artefact.file_sha256(folder / file) for file in files},
    }
    for file in files:
        (folder / file).chmod(0o644)  # safetensors writes files that only their owner reads
    (folder / artefact.CONFIG).write_text(yaml.safe_dump(tree, sort_keys=False))


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage export`; return the exit code."""
    parser = argparse.ArgumentParser(prog='sage export', description=__doc__)
    parser.add_argument('config', type=Path, help='the configuration that was trained with')
    parser.add_argument('--run', type=Path, required=True, help='run folder with last.ckpt')
    parser.add_argument('--to', type=Path, required=True, help='model folder to write')
    args = parser.parse_args(argv)
    try:
        config = read_config(args.config)
        model = load_run(config, args.run)
        crops = mixture(config.data, config.model.img_size)
    except (ConfigError, FileNotFoundError) as error:
        print(f'sage export: {error}', file=sys.stderr)
        return 2
    baseline = pca.fit(varied_crops(crops, config), config.model.latent_dim)
    sample = crops.sample(config.training.fitted_crops, seed=1)
    x = to_model(sample, config.model.input_channels)
    write(args.to, config.name, config.version, model, x, baseline)
    print(f'{artefact.read(args.to).id} in {args.to}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
