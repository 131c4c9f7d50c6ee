# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure a model with a spatial latent against principal components, JPEG and WebP.

`python bench/lightweight.py MODEL [--config FILE] [--crops N] [--out FILE]` evaluates on held-out
files of the configuration: squares of stills at any scale without upscaling, and squares around
moving objects of clips at native scale.

The principal components are those of square blocks of pixels, as many per block as the model has
channels, fitted to the crops that training starts from. Their coefficients are packed like the
latents of the model, with `sage_perception.codecs.packing` and the standard deviation of each
channel over training crops. JPEG and WebP are the best file of at most as many bytes as the latent
of the same crop, including headers. Bytes and figures are means over crops; times are of ONNX
Runtime at batch 1 on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from result_file import add_out, write_result
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.evaluation.image_codecs import QualityLadder
from sage_perception.evaluation.scores import concatenated, fidelity, means
from sage_perception.models import Codec, ModelError, load, pca
from sage_perception.training.config import ConfigError, RunConfig, read_config
from sage_perception.training.data.crops import CropConfig
from sage_perception.training.data.files import file_filter
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture, crop_sources, mixture
from sage_perception.training.data.stream import augmented_crops

STEPS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.2, 1.6)
FILES = ('jpeg', 'webp')
PEER_MS = 12.4  # encoding time of the standard model of the public original, one image
BATCH = 16  # images decoded at once


class BlockPca:
    """Principal components of blocks of pixels, as a codec with latents `z` `[B, K, H, W]`."""

    def __init__(self, x: np.ndarray, shape: tuple[int, int, int]):
        """Fit to images `x`, float32 `[N, C, S, S]`, for latents of `shape` `[K, H, W]`."""
        self.side = x.shape[2] // shape[1]
        fitted = pca.fit(self._blocks(x).reshape(-1, x.shape[1] * self.side**2), shape[0])
        self._pca = fitted
        z = self.encode(x)
        # A mean variance of 1, as that of the model, so that quantization steps compare.
        self._scale = np.sqrt(z.var((0, 2, 3)).mean())
        z /= self._scale
        self.mean, self.std = z.mean((0, 2, 3)), z.std((0, 2, 3))

    _scale = 1.0

    def _blocks(self, x):
        return pixel_unshuffle(torch.from_numpy(x), self.side).movedim(1, 3).numpy()

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Return the latents `[B, K, H, W]` of images `[B, C, S, S]`."""
        z = (self._blocks(x) - self._pca.mean) @ self._pca.components.T / self._scale
        return np.ascontiguousarray(np.moveaxis(z, 3, 1))

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the images `[B, C, S, S]` in [0, 1] of latents `[B, K, H, W]`."""
        blocks = np.moveaxis(z, 1, 3) * self._scale @ self._pca.components + self._pca.mean
        images = pixel_shuffle(torch.from_numpy(blocks).movedim(3, 1), self.side)
        return images.clamp(0, 1).numpy()


def channel_packer(mean: np.ndarray, std: np.ndarray, places: int) -> Packer:
    """Return the packer of maps `[K, H, W]` whose positions share statistics `[K]`."""
    return Packer(np.repeat(mean, places), np.repeat(std, places))


def channel_statistics(codec: Codec) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel of the latents, over all positions."""
    mean = codec.latent_mean.mean((1, 2))
    variance = np.square(codec.latent_std).mean((1, 2)) + codec.latent_mean.var((1, 2))
    return mean, np.sqrt(variance)


def in_parts(function: Callable, array: np.ndarray) -> np.ndarray:
    """Return `function` of an array, applied to a few rows at a time."""
    return np.concatenate([function(array[i : i + BATCH]) for i in range(0, len(array), BATCH)])


def scored(y: np.ndarray, x: np.ndarray) -> dict:
    """Return the mean PSNR, SSIM and MS-SSIM of images `y` against `x`."""
    parts = [fidelity(y[i : i + BATCH], x[i : i + BATCH]) for i in range(0, len(x), BATCH)]
    figures = means(concatenated(parts))
    return {name: figures[name] for name in ('psnr', 'ssim', 'ms_ssim')}


def sent(coder, packer: Packer, z: np.ndarray, x: np.ndarray, encoding: Encoding, **how):
    """Return the bytes of each latent in an encoding, and the figures after decoding."""
    payloads = [packer.pack(each.ravel(), encoding, **how) for each in z]
    arrived = np.stack([packer.unpack(each, encoding) for each in payloads]).reshape(z.shape)
    sizes = [len(payload) for payload in payloads]
    return sizes, {'bytes': float(np.mean(sizes)), **scored(in_parts(coder.decode, arrived), x)}


def report(codec: Codec, blocks: BlockPca, crops: np.ndarray) -> dict:
    """Return the figures for crops, uint8 RGB `[N, S, S, 3]`."""
    x = to_model(crops, codec.input_channels)
    images = crops if codec.input_channels == 3 else (x[:, 0] * 255 + 0.5).astype(np.uint8)
    ladders = {file: [QualityLadder(file, image) for image in images] for file in FILES}
    places = codec.latent_dim // len(blocks.mean)
    coders = {
        'model': (codec, channel_packer(*channel_statistics(codec), places)),
        'pca': (blocks, channel_packer(blocks.mean, blocks.std, places)),
    }
    latents = {name: in_parts(coder.encode, x) for name, (coder, _) in coders.items()}
    result = {
        'crops': len(x),
        'exact': {
            name: scored(in_parts(coder.decode, latents[name]), x)
            for name, (coder, _) in coders.items()
        },
        'int8': {name: sent(*coders[name], latents[name], x, Encoding.INT8)[1] for name in coders},
        'rates': [],
    }
    for step in STEPS:
        row = {'step': step}
        for name, pair in coders.items():
            sizes, row[name] = sent(*pair, latents[name], x, Encoding.ENTROPY_INT8, step=step)
            if name == 'model':
                budgets = sizes
        for file in FILES:
            best = [
                ladder.within(size) for ladder, size in zip(ladders[file], budgets, strict=True)
            ]
            pixels = np.stack([each.decoded for each in best]).astype(np.float32) / 255
            y = np.ascontiguousarray(np.moveaxis(pixels.reshape(crops.shape[:3] + (-1,)), 3, 1))
            size = float(np.mean([each.bytes for each in best]))
            row[file] = {'bytes': size, **scored(y, x)}
        result['rates'].append(row)
    return result


def latency(codec: Codec, seconds: float = 3.0) -> dict:
    """Return median and shortest milliseconds of encoding and decoding one image."""
    rng = np.random.default_rng(0)
    x = rng.random((1, codec.input_channels, codec.input_size, codec.input_size), np.float32)
    z = codec.encode(x)
    result = {}
    for name, call in (('encode', lambda: codec.encode(x)), ('decode', lambda: codec.decode(z))):
        call()
        times = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(times) < 10:
            start = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - start))
        result[name] = {'median': statistics.median(times), 'shortest': min(times)}
    return result


def table(kind: str, figures: dict) -> str:
    """Return the figures of one kind of crops as text."""

    def line(name, v):
        size = f'{v["bytes"]:9.0f}' if 'bytes' in v else f'{"":9}'
        return f'{name:28}{size}{v["psnr"]:9.2f}{v["ssim"]:8.4f}{v["ms_ssim"]:9.4f}'

    head = f'{kind} ({figures["crops"]})'
    lines = [f'{head:28}{"bytes":>9}{"PSNR dB":>9}{"SSIM":>8}{"MS-SSIM":>9}']
    for what in ('exact', 'int8'):
        lines += [line(f'{name}, {what}', values) for name, values in figures[what].items()]
    for row in figures['rates']:
        for name in ('model', 'pca', *FILES):
            label = f'step {row["step"]}, {name}' if name in ('model', 'pca') else f'  {name}'
            lines.append(line(label, row[name]))
    return '\n'.join(lines)


def held_out_crops(config: RunConfig, size: int, count: int) -> dict[str, np.ndarray]:
    """Return crops of held-out files by kind, uint8 RGB `[count, S, S, 3]`."""
    data = config.data
    kinds = crop_sources(Path(data.root), file_filter(data, held_out=True))
    scale = {'stills': CropConfig(size, smallest=size), 'motion': CropConfig(size, native=True)}
    return {
        kind: Mixture((source,), (1,), scale[kind]).sample(count, 0)
        for kind, source in kinds.items()
    }


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('model', nargs='?', default='lightweight')
    parser.add_argument('--config', type=Path, default=Path('config/train/lightweight.yaml'))
    parser.add_argument('--crops', type=int, default=60, help='crops of each kind (default: 60)')
    add_out(parser, 'lightweight')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        config = read_config(args.config)
        codec = load(args.model, backend='onnxruntime')
        if len(codec.latent_shape) != 3:
            raise ModelError(
                f'{codec.id.name} has a latent of shape {codec.latent_shape}, a spatial one is '
                'required'
            )
        crops = held_out_crops(config, codec.input_size, args.crops)
        training = augmented_crops(mixture(config.data, codec.input_size), config)
    except (ConfigError, ModelError, FileNotFoundError, ValueError) as error:
        print(f'bench/lightweight.py: {error}', file=sys.stderr)
        return 2
    blocks = BlockPca(training, codec.latent_shape)
    result = {
        'model': str(codec.id),
        'parameters': codec.parameters,
        'latent': codec.latent_shape,
        'latency_ms': latency(codec),
        'peer_encode_ms': PEER_MS,
        'kinds': {},
    }
    print(f'{codec.id}: {codec.parameters:,} parameters, latent {list(codec.latent_shape)}')
    for name, values in result['latency_ms'].items():
        print(f'{name} {values["median"]:.2f} ms (shortest {values["shortest"]:.2f})')
    print(f'the standard model of the public original encodes in {PEER_MS} ms', flush=True)
    for kind, each in crops.items():
        result['kinds'][kind] = report(codec, blocks, each)
        print(table(kind, result['kinds'][kind]), flush=True)
    write_result(args.out, result)
    return 0


if __name__ == '__main__':
    sys.exit(main())
