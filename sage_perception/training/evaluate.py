# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure a model on crops of pictures and clips beside the baselines: `sage eval tinyvae …`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.numpy import load_file
from torch.nn.functional import interpolate

from sage_perception.models import Codec, ModelError, artefact, load
from sage_perception.training import losses
from sage_perception.training.config import ConfigError, DataConfig, read_config
from sage_perception.training.data import CropConfig, Mixture, matches, sources, to_model
from sage_perception.training.pca import Pca

BATCH = 64
ACTIVE = 0.01  # variance of a dimension's mean that makes it active (Burda et al., 2015)


def mean_colour(x: np.ndarray) -> np.ndarray:
    """Return pictures `[B, C, H, W]` with each one's mean colour all over."""
    return np.broadcast_to(x.mean((2, 3), keepdims=True), x.shape).copy()


def downsample(x: np.ndarray, numbers: int) -> np.ndarray:
    """Return what bilinear resizing leaves of `[B, C, S, S]` through at most `numbers` values."""
    cells = max(numbers // x.shape[1], 1)
    rows = int(np.sqrt(cells))
    small = interpolate(
        torch.from_numpy(x), (rows, cells // rows), mode='bilinear', antialias=True
    )
    return interpolate(small, x.shape[2:], mode='bilinear').numpy()


def quality(y: np.ndarray, x: np.ndarray) -> dict[str, float]:
    """Return the means over crops of PSNR (dB), MSE, SSIM and MS-SSIM of `y` against `x`."""
    parts = []
    for a, b in zip(
        torch.from_numpy(y).split(BATCH), torch.from_numpy(x).split(BATCH), strict=True
    ):
        mse = (a - b).square().mean((1, 2, 3))
        parts.append((losses.psnr(a, b), mse, losses.ssim(a, b), losses.ms_ssim(a, b)))
    scores = (float(torch.cat(part).mean()) for part in zip(*parts, strict=True))
    return dict(zip(('psnr', 'mse', 'ssim', 'ms_ssim'), scores, strict=True))


def measure(codec: Codec, x: np.ndarray, baseline: Pca | None) -> dict:
    """Return the figures of a model on crops, float32 `[N, C, S, S]`, and of the baselines."""
    mean, log_var = codec.encode_stats(x)
    y = codec.decode(mean)
    kl = losses.kl_divergence(torch.from_numpy(mean), torch.from_numpy(log_var))
    baselines = {
        'mean_colour': quality(mean_colour(x), x),
        'downsample': quality(downsample(x, codec.latent_dim), x),
    }
    if baseline is not None:
        baselines['pca'] = quality(baseline.reconstruct(x), x)
    return {
        'crops': len(x),
        **quality(y, x),
        'kl_per_dim': float(kl.mean()),
        'active_dims': int((mean.var(0) > ACTIVE).sum()),
        'baselines': baselines,
    }


def latency_ms(codec: Codec, x: np.ndarray) -> dict[str, float]:
    """Return median times of one call, milliseconds, for a picture `[1, C, S, S]`."""
    z = codec.encode(x)

    def median(call, runs=200):
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return round(1e3 * float(np.median(times)), 3)

    return {'encode': median(lambda: codec.encode(x)), 'decode': median(lambda: codec.decode(z))}


def read_baseline(codec: Codec) -> Pca | None:
    """Return the principal components that come with a model, None if none came."""
    path = codec.artefact.path / artefact.PCA
    if not path.is_file():
        return None
    tensors = {name: value.astype(np.float32) for name, value in load_file(path).items()}
    return Pca(tensors['mean'], tensors['components'])


def evaluate(
    codec: Codec, root: Path, held_out: DataConfig | None, count: int, native: bool
) -> dict:
    """Return the report of a model: figures over all crops, and by kind under `sets`.

    With `held_out` only the files count that this training configuration kept apart.
    """

    def wanted(path):
        return held_out is None or (
            matches(path, held_out.held_out) and not matches(path, held_out.exclude)
        )

    config = CropConfig(codec.input_size, native=native)
    sets = {
        kind: to_model(Mixture((source,), (1,), config).sample(count, 0), codec.input_channels)
        for kind, source in sources(root, wanted).items()
    }
    baseline = read_baseline(codec)
    everything = np.concatenate(list(sets.values()))
    return {
        'model': str(codec.id),
        'backend': codec.backend,
        'protocol': 'native' if native else 'multi-scale',
        'params': codec.parameters,
        'dims': codec.latent_dim,
        **measure(codec, everything, baseline),
        'latency_ms_b1': latency_ms(codec, everything[:1]),
        'sets': {kind: measure(codec, x, baseline) for kind, x in sets.items()},
    }


def table(report: dict) -> str:
    """Return the report for people."""
    lines = [
        f'{report["model"]} on {report["backend"]}: {report["params"]} parameters, '
        f'{report["dims"]} dimensions, {report["active_dims"]} active; encode '
        f'{report["latency_ms_b1"]["encode"]} ms, decode {report["latency_ms_b1"]["decode"]} ms',
        f'{report["protocol"] + " crops":24}{"PSNR dB":>9}{"SSIM":>8}{"MS-SSIM":>9}{"MSE":>10}',
    ]
    for kind, figures in report['sets'].items():
        rows = {f'{kind} ({figures["crops"]})': figures}
        rows |= {f'  {name}': values for name, values in figures['baselines'].items()}
        lines += [
            f'{name:24}{v["psnr"]:9.2f}{v["ssim"]:8.3f}{v["ms_ssim"]:9.3f}{v["mse"]:10.5f}'
            for name, v in rows.items()
        ]
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage eval`; return the exit code."""
    parser = argparse.ArgumentParser(prog='sage eval', description=__doc__)
    parser.add_argument('model', help='name or folder of a model')
    parser.add_argument('--data', type=Path, required=True, help='folder of pictures and clips')
    parser.add_argument(
        '--held-out',
        type=Path,
        metavar='CONFIG',
        help='use only the files that this training configuration kept apart',
    )
    parser.add_argument('--crops', type=int, default=1000, help='of each kind (1000)')
    parser.add_argument('--native', action='store_true', help='cut at native scale only')
    parser.add_argument('--backend', default='auto', help='auto, torch or onnxruntime')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    try:
        held_out = read_config(args.held_out).data if args.held_out else None
        codec = load(args.model, backend=args.backend)
        report = evaluate(codec, args.data, held_out, args.crops, args.native)
    except (ConfigError, ModelError, FileNotFoundError, ValueError) as error:
        print(f'sage eval: {error}', file=sys.stderr)
        return 2
    print(json.dumps(report) if args.json else table(report))
    return 0


if __name__ == '__main__':
    sys.exit(main())
