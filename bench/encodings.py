# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure bytes and loss of each encoding of a latent.

`python bench/encodings.py [MODEL] --data DIR [--held-out CONFIG] [--crops N] [--native]
[--out FILE]` draws the crops of `sage eval`. Bytes are means over crops. WebP files of the scaled
crops are the baseline.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from result_file import add_out, write_result
from scipy import stats

from sage_perception.codecs.entropy import CONTRASTS, DEFAULT_STEP
from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.evaluation.image_codecs import QualityLadder
from sage_perception.models import Codec, ModelError, load
from sage_perception.training.config import ConfigError, read_config
from sage_perception.training.data.crops import CropConfig
from sage_perception.training.data.files import file_filter
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture, crop_sources
from sage_perception.training.losses import images as losses

STEPS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
LOSSES = (0.1, 0.3, 1.0)  # dB
PREFIXES = (8, 12, 16, 20, 24, 28, 32, 40)  # bytes of EMBEDDED
WEBP_SIDES, WEBP_QUALITIES = (8, 12, 16, 24, 32), (0, 20, 50)


def measure(
    codec: Codec, packer: Packer, z: np.ndarray, x: np.ndarray, encoding: Encoding, **how
) -> dict:
    """Return bytes, PSNR and MS-SSIM of crops `x` after their latents `z` were encoded."""
    payloads = [packer.pack(each, encoding, **how) for each in z]
    arrived = np.stack([packer.unpack(payload, encoding) for payload in payloads])
    a, b = torch.from_numpy(codec.decode(arrived)), torch.from_numpy(x)
    return {
        'bytes': float(np.mean([len(payload) for payload in payloads])),
        'psnr': float(losses.psnr(a, b).mean()),
        'ms_ssim': float(losses.ms_ssim(a, b).mean()),
    }


def bytes_at(sweep: list[dict], psnr: float) -> float:
    """Return the bytes at which a sweep over steps reaches `psnr`, interpolated linearly."""
    points = sorted((point['psnr'], point['bytes']) for point in sweep)
    return float(np.interp(psnr, *np.transpose(points)))


def entropies(mean: np.ndarray, std: np.ndarray, z: np.ndarray) -> dict[str, float]:
    """Return the theoretical bytes of the indices at the default step, by distribution.

    Each distribution has its best scale, a multiple of contrast · std.
    """
    scaled = (z - mean) / std
    contrast = np.abs(scaled).mean(1, keepdims=True)
    contrast = CONTRASTS[np.abs(np.log(CONTRASTS / contrast)).argmin(1)][:, None]
    index = np.rint((z - mean) / (DEFAULT_STEP * contrast))
    models = {'Gaussian': stats.norm(), 'Laplace': stats.laplace(), "Student's t, 4": stats.t(4)}

    def size(model, scale):
        edge = DEFAULT_STEP / (std * scale)
        p = model.cdf((index + 0.5) * edge) - model.cdf((index - 0.5) * edge)
        return -np.log2(np.maximum(p, 2.0**-24)).sum(1).mean() / 8

    return {
        name: float(min(size(model, scale) for scale in np.arange(0.8, 1.5, 0.1)))
        for name, model in models.items()
    }


def webp(x: np.ndarray, side: int, quality: int) -> dict[str, float]:
    """Return bytes and PSNR of crops that are scaled to `side` pixels and compressed as WebP.

    The decoded image is scaled back with cubic interpolation.
    """
    sizes, arrived = [], []
    full = x.shape[2]
    for crop in np.rint(x.transpose(0, 2, 3, 1) * 255).astype(np.uint8):
        small = cv2.resize(crop.squeeze(), (side, side), interpolation=cv2.INTER_AREA)
        image = QualityLadder('webp', small)[quality]
        sizes.append(image.bytes)
        back = cv2.resize(image.decoded, (full, full), interpolation=cv2.INTER_CUBIC)
        arrived.append(back.reshape(full, full, -1))
    y = np.stack(arrived).transpose(0, 3, 1, 2).astype(np.float32) / 255
    psnr = losses.psnr(torch.from_numpy(y), torch.from_numpy(x))
    return {'bytes': float(np.mean(sizes)), 'psnr': float(psnr.mean())}


def report(codec: Codec, x: np.ndarray) -> dict:
    """Return the figures of all encodings for crops, float32 `[N, C, S, S]`."""
    packer = Packer.of(codec)
    z = codec.encode(x)
    encodings = [e for e in Encoding if e != Encoding.VQ or packer.codebook is not None]
    measured = {e.name.lower(): measure(codec, packer, z, x, e) for e in encodings}
    best = measured['float32']['psnr']
    sweep = [
        {'step': step, **measure(codec, packer, z, x, Encoding.ENTROPY_INT8, step=step)}
        for step in STEPS
    ]
    prefixes = []
    for size in PREFIXES:
        prefixes.append(measure(codec, Packer.of(codec, size), z, x, Encoding.EMBEDDED))
    return {
        'crops': len(x),
        'prefix': prefixes,
        'encoding': measured,
        'step': DEFAULT_STEP,
        'sweep': sweep,
        'webp': [
            {'side': side, 'quality': quality, **webp(x, side, quality)}
            for side in WEBP_SIDES
            for quality in WEBP_QUALITIES
        ],
        'bytes_at_loss': {str(loss): bytes_at(sweep, best - loss) for loss in LOSSES},
        'entropy_bytes': entropies(codec.latent_mean, codec.latent_std, z),
    }


def table(kind: str, figures: dict) -> str:
    """Return the report of one kind of crops as a text table."""
    best = figures['encoding']['float32']['psnr']

    def line(name, v):
        return (
            f'{name:24}{v["bytes"]:8.1f}{v["psnr"]:9.2f}{v["psnr"] - best:8.3f}{v["ms_ssim"]:9.4f}'
        )

    head = f'{kind} ({figures["crops"]})'
    lines = [f'{head:24}{"bytes":>8}{"PSNR dB":>9}{"loss":>8}{"MS-SSIM":>9}']
    lines += [line(name, values) for name, values in figures['encoding'].items()]
    lines += [line(f'  entropy, step {v["step"]}', v) for v in figures['sweep']]
    lines += [line('  embedded, prefix', v) for v in figures['prefix']]
    lines += [
        f'  webp {v["side"]:2d} px, quality {v["quality"]:2d}{v["bytes"]:8.1f}{v["psnr"]:9.2f}'
        f'{v["psnr"] - best:8.3f}'
        for v in figures['webp']
    ]
    lines += [
        f'  {loss} dB less in {size:.1f} bytes' for loss, size in figures['bytes_at_loss'].items()
    ]
    sizes = ', '.join(f'{n} {size:.2f}' for n, size in figures['entropy_bytes'].items())
    return '\n'.join(
        [*lines, f'  indices at step {figures["step"]}, bytes by distribution: {sizes}']
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', nargs='?', default='tinyvae')
    parser.add_argument('--data', type=Path, default=Path('out/data/images'))
    parser.add_argument('--held-out', type=Path, default=Path('config/train/tinyvae.yaml'))
    parser.add_argument('--crops', type=int, default=1000, help='of each kind (1000)')
    parser.add_argument('--native', action='store_true', help='cut at native scale only')
    add_out(parser, 'encodings')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        data = read_config(args.held_out).data
        codec = load(args.model)
        kinds = crop_sources(args.data, file_filter(data, held_out=True))
    except (ConfigError, ModelError, FileNotFoundError, ValueError) as error:
        print(f'bench/encodings.py: {error}', file=sys.stderr)
        return 2
    config = CropConfig(codec.input_size, native=args.native)
    result = {}
    for kind, source in kinds.items():
        crops = Mixture((source,), (1,), config).sample(args.crops, 0)
        result[kind] = report(codec, to_model(crops, codec.input_channels))
        print(table(kind, result[kind]), flush=True)
    write_result(args.out, result)
    return 0


if __name__ == '__main__':
    sys.exit(main())
