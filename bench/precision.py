# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the effect of backends, half precision and encodings on latents and images.

`python bench/precision.py [MODEL] [--held-out CONFIG] [--crops N] [--out FILE]` uses crops of the
held-out files of the configuration. The reference is torch in fp32. Reported are the minimum and
the mean cosine of the latents, and of the latents minus the model's mean latent, which is
stricter, and the loss of PSNR. Latents of a backend are decoded by it, encoded latents in fp32.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from result_file import add_out, write_result

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.models import Codec, ModelError, load
from sage_perception.training.config import ConfigError, read_config
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import mixture
from sage_perception.training.losses import images as losses

BACKENDS = (('torch', 'fp16'), ('onnxruntime', 'fp32'))
ENCODINGS = (Encoding.FLOAT16, Encoding.INT8)
BATCH = 64


def batched(function, values: np.ndarray) -> np.ndarray:
    """Return the results of a function of batches for all `values`."""
    parts = np.array_split(values, max(1, len(values) // BATCH))
    return np.concatenate([np.asarray(function(part), np.float32) for part in parts])


def quality(codec: Codec, z: np.ndarray, x: np.ndarray) -> float:
    """Return the mean PSNR, dB, of the decoded latents `z` against crops `x`."""
    decoded = batched(codec.decode, z).clip(0, 1)
    return float(losses.psnr(torch.from_numpy(decoded), torch.from_numpy(x)).mean())


def cosines(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Return the minimum and the mean cosine of the rows of `a` and `b`."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    each = (a * b).sum(1) / norms
    return {'minimum': float(each.min()), 'mean': float(each.mean())}


def report(name: str, x: np.ndarray) -> dict[str, dict]:
    """Return the figures of each backend and encoding for crops, float32 `[N, C, S, S]`."""
    reference = load(name, backend='torch')
    z = batched(reference.encode, x)
    best = quality(reference, z, x)

    def compare(other, codec):
        return {
            'cosine': cosines(other, z),
            'centered_cosine': cosines(other - reference.latent_mean, z - reference.latent_mean),
            'psnr_loss': best - quality(codec, other, x),
        }

    result = {}
    for backend, precision in BACKENDS:
        codec = load(name, backend=backend, precision=precision)
        result[f'{backend} {precision}'] = compare(batched(codec.encode, x), codec)
    packer = Packer.of(reference)
    for encoding in ENCODINGS:
        arrived = np.stack([packer.unpack(packer.pack(each, encoding), encoding) for each in z])
        result[f'encoding {encoding.name.lower()}'] = compare(arrived, reference)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', nargs='?', default='tinyvae')
    parser.add_argument('--held-out', type=Path, default=Path('config/train/tinyvae.yaml'))
    parser.add_argument('--crops', type=int, default=1000)
    add_out(parser, 'precision')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        config = read_config(args.held_out)
        crops = mixture(config.data, load(args.model).input_size, held_out=True)
        x = to_model(crops.sample(args.crops, 0), config.model.input_channels)
        result = report(args.model, x)
    except (ConfigError, ModelError, FileNotFoundError) as error:
        print(f'bench/precision.py: {error}', file=sys.stderr)
        return 2
    write_result(args.out, result)
    print(f'{"against torch fp32":20}{"cosine":>20}{"centered":>20}{"PSNR loss dB":>14}')
    for name, figures in result.items():
        pairs = (figures['cosine'], figures['centered_cosine'])
        cells = ''.join(f'{p["minimum"]:>11.6f} {p["mean"]:.6f}' for p in pairs)
        print(f'{name:20}{cells}{figures["psnr_loss"]:14.4f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
