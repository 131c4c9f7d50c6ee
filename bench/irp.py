# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the gain and the cost of refinement, and whether its budget is conserved.

    python bench/irp.py --data out/data/images

The crops are those of `sage eval`, from held-out files. PSNR is the mean over crops; gains are
relative to the encoder's guess. Times are CPU times of one thread, without the encoder. Writes
out/bench/irp.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from irp_optimizers import ThoroughIRP, compare_optimizers, mean_gain
from irp_schedules import schedules
from PIL import Image
from result_file import add_out, show_result, write_result

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.metrics import psnr_from_mse
from sage_perception.evaluation.baselines import read_components
from sage_perception.irp import Refinement
from sage_perception.irp.adaptive import AdaptiveVAE
from sage_perception.irp.tinyvae import Crops, TinyVAEIRP
from sage_perception.models import Codec, ModelError
from sage_perception.training.config import ConfigError, read_config
from sage_perception.training.data.crops import CropConfig
from sage_perception.training.data.files import file_filter
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture, crop_sources

BUDGETS_MS = (5, 10, 20, 50, 100)
BATCH = 16


def mean_psnr(error: np.ndarray) -> float:
    """Return the mean PSNR of mean squared errors, dB."""
    return round(float(psnr_from_mse(error).mean()), 3)


def psnr_of_components(codec: Codec, kinds: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the PSNR of as many principal components as latent dimensions, by kind of crops."""
    components = read_components(codec)
    return {
        kind: mean_psnr(np.square(components.reconstruct(x, codec.latent_dim) - x).mean((1, 2, 3)))
        for kind, x in kinds.items()
    }


def refine(
    plugin: TinyVAEIRP, x: np.ndarray, guess: np.ndarray, ms: float, batch: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return energies [N], latents [N, D] and spent ms [N] of crops with `ms` each, in batches.

    A crop whose budget is too small keeps its guess.
    """
    energy, latents, spent = energies_of(plugin, x, guess), guess.copy(), np.zeros(len(x))
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        run = Refinement(plugin, Crops(x[part], guess=guess[part]), time.thread_time)
        run.run(np.full(len(run), ms / 1e3))
        for i in np.flatnonzero(np.isfinite(run.best)):
            energy[start + i], latents[start + i] = run.best[i], run.outputs[i]
        spent[part] = run.spent_s * 1e3
    return energy, latents, spent


def energies_of(plugin: TinyVAEIRP, x: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """Return the energies [N] of latents [N, D]."""
    return np.concatenate(
        [
            plugin.energy(plugin.init_state(Crops(x[i : i + BATCH], guess=latents[i : i + BATCH])))
            for i in range(0, len(x), BATCH)
        ]
    )


def quality(plugin: TinyVAEIRP, kinds: dict[str, np.ndarray]) -> dict:
    """Return the gain in PSNR by milliseconds, of single crops and of batches."""
    x = np.concatenate(list(kinds.values()))
    guess = plugin.codec.encode(x)
    kind_of = np.repeat(list(kinds), [len(part) for part in kinds.values()])
    base = energies_of(plugin, x, guess)
    result = {
        'psnr': mean_psnr(base),
        'psnr_of_kinds': {kind: mean_psnr(base[kind_of == kind]) for kind in kinds},
    }
    for name, batch in (('', 1), ('_batched', BATCH)):
        refine(plugin, x[: 2 * batch], guess[: 2 * batch], 100, batch)  # warm up
        curve, per_kind, spent = {}, {kind: {} for kind in kinds}, {}
        for ms in BUDGETS_MS:
            energy, latents, spent_ms = refine(plugin, x, guess, ms, batch)
            curve[ms] = mean_gain(base, energy)
            spent[ms] = round(float(spent_ms.mean()), 2)
            for kind in kinds:
                selected = kind_of == kind
                per_kind[kind][ms] = mean_gain(base[selected], energy[selected])
        result[f'psnr_gain_by_ms{name}'] = curve
        result[f'ms_spent_by_ms{name}'] = spent
        result[f'psnr_gain_by_ms_of_kinds{name}'] = per_kind
        result[f'step_ms{name}'] = round(plugin.cost.per_item(batch) * 1e3, 2)
    codec = plugin.codec
    for name, z in (('guess', guess), ('refined', latents)):
        deviation = (z - codec.latent_mean) / codec.latent_std
        result[f'rms_deviations_{name}'] = round(float(np.sqrt(np.square(deviation).mean())), 3)
        result[f'largest_deviation_{name}'] = round(float(np.abs(deviation).max()), 2)
    result['psnr_gain_by_encoding'] = gain_by_encoding(plugin, x, guess, latents)
    return result


def gain_by_encoding(
    plugin: TinyVAEIRP, x: np.ndarray, guess: np.ndarray, latents: np.ndarray
) -> dict[str, float]:
    """Return the gain that remains when guess and refined latents are transmitted encoded."""
    packer = Packer.of(plugin.codec)
    gains = {}
    for encoding in (Encoding.FLOAT16, Encoding.INT8, Encoding.ENTROPY_INT8):
        received = [
            np.stack([packer.unpack(packer.pack(each, encoding), encoding) for each in z])
            for z in (guess, latents)
        ]
        gains[encoding.name.lower()] = mean_gain(*(energies_of(plugin, x, z) for z in received))
    return gains


def deepest(plugin: ThoroughIRP, x: np.ndarray, guess: np.ndarray, starts: int = 2) -> dict:
    """Return the gain of descent until convergence, from the guess and from random starts."""
    rng = np.random.default_rng(0)
    base = energies_of(plugin, x, guess)
    best, gains = base, []
    for number in range(1 + starts):
        offset = 0.4 * number * plugin.codec.latent_std * rng.standard_normal(guess.shape)
        start = (guess + offset).astype(np.float32)
        run = Refinement(plugin, Crops(x, guess=start))
        run.run(np.full(len(x), np.inf))
        best = np.minimum(best, run.best)
        gains.append(mean_gain(base, best))
    return {'from_the_guess': gains[0], f'from_{starts}_other_starts_too': gains[-1]}


def iterations_of_scene(adaptive: AdaptiveVAE, x: np.ndarray) -> dict[str, float]:
    """Return the iterations per crop for a first, a noisy, a slightly changed and a new frame."""
    rng = np.random.default_rng(0)
    noisy = (x + rng.normal(0, 2 / 255, x.shape)).clip(0, 1).astype(np.float32)
    blend = (0.9 * x + 0.1 * x[::-1]).astype(np.float32)
    result = {}
    for name, images in (('first', x), ('still', noisy), ('moved', blend), ('other', x[::-1])):
        crops = Crops(
            np.ascontiguousarray(images), range(1, len(x) + 1), adaptive.codec.encode(images)
        )
        telemetry = adaptive.refine(crops)[1]
        result[name] = round(float(np.mean([each.iterations for each in telemetry])), 2)
    return result


def plot(plugin: TinyVAEIRP, x: np.ndarray, result: dict, path: Path) -> None:
    """Plot the gain over time, and the PSNR around the descent of one crop."""
    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3.2), layout='constrained')
    for name, label in (('', 'single crops'), ('_batched', f'batches of {BATCH}')):
        curve = result[f'psnr_gain_by_ms{name}']
        left.plot([0, *curve], [0, *curve.values()], 'o-', label=label)
    left.axhline(result['deepest']['from_the_guess'], color='gray', ls=':', label='converged')
    left.set(xlabel='ms per crop, one thread', ylabel='gain in PSNR, dB', xlim=(0, 60))
    left.legend(frameon=False)
    guess = plugin.codec.encode(x)
    state, path_z = plugin.init_state(Crops(x, guess=guess)), [guess[0]]
    for _ in range(12):
        state = plugin.step(state, np.ones(1, bool))
        path_z.append(state.best_z[0])
    end = path_z[-1]
    axes = np.linalg.qr(np.stack([guess[0] - end, path_z[2] - end]).T)[0].T
    projected = (np.stack(path_z) - end) @ axes.T
    extent = 1.3 * np.abs(projected).max()
    ticks = np.linspace(-extent, extent, 15)
    grid = np.stack([end + a * axes[0] + b * axes[1] for b in ticks for a in ticks])
    energies = energies_of(plugin, np.repeat(x, len(grid), 0), grid.astype(np.float32))
    right.contour(ticks, ticks, psnr_from_mse(energies).reshape(15, 15), 14, linewidths=0.8)
    right.plot(*projected.T, 'k.-', lw=1)
    right.set(
        xlabel='direction of the guess', ylabel='orthogonal', title='PSNR around a descent, dB'
    )
    figure.set_dpi(80)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    Image.fromarray(np.ascontiguousarray(pixels)).quantize(32).save(path, optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', nargs='?', default='tinyvae')
    parser.add_argument(
        '--decoder',
        default='tinyvae_hq',
        help="another decoder of the same latents; '' for none (default: tinyvae_hq)",
    )
    parser.add_argument('--data', type=Path, default=Path('out/data/images'))
    parser.add_argument('--held-out', type=Path, default=Path('config/train/tinyvae.yaml'))
    parser.add_argument('--crops', type=int, default=32, help='of each kind (default: 32)')
    parser.add_argument('--schedules', type=int, default=10_000)
    parser.add_argument('--plot', type=Path, help='write a plot to this file')
    add_out(parser, 'irp')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        data = read_config(args.held_out).data
        own, other = TinyVAEIRP(args.model), None
        if args.decoder:
            other = TinyVAEIRP(args.model, args.decoder)
        found = crop_sources(args.data, file_filter(data, held_out=True))
    except (ConfigError, ModelError, FileNotFoundError, ValueError) as error:
        print(f'bench/irp.py: {error}', file=sys.stderr)
        return 2
    config = CropConfig(own.codec.input_size)
    kinds = {
        kind: to_model(Mixture((source,), (1,), config).sample(args.crops, 0), 3)
        for kind, source in found.items()
    }
    x = np.concatenate(list(kinds.values()))
    few = np.concatenate([part[:8] for part in kinds.values()])
    guess, thorough = own.codec.encode(few), ThoroughIRP(args.model)
    result = {
        'model': str(own.codec.id),
        'crops': {kind: len(part) for kind, part in kinds.items()},
        'psnr_of_components': psnr_of_components(own.codec, kinds),
        **quality(own, kinds),
        'deepest': deepest(thorough, x, own.codec.encode(x)),
        'psnr_gain_by_gradients': compare_optimizers(thorough, few, guess),
        'iterations_of_a_scene': iterations_of_scene(AdaptiveVAE(args.model), few),
    }
    if other:
        curves = quality(other, kinds)
        over = curves['psnr'] + curves['psnr_gain_by_ms_batched'][50] - result['psnr']
        result['other_decoder'] = {
            'decoder': args.decoder,
            **curves,
            'psnr_gain_at_50_ms_over_the_guess_in_its_own': round(over, 3),
        }
    if args.plot:
        plot(own, few[:1], result, args.plot)
    result |= schedules(args.schedules)
    write_result(args.out, result)
    show_result(result)
    return 0


if __name__ == '__main__':
    sys.exit(main())
