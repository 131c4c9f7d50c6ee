# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Trained parts of Z-space against their baselines, on held-out clips and images."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import torch

from sage_perception import zspace
from sage_perception.core.metrics import psnr_from_mse
from sage_perception.models import load_crop_codec
from sage_perception.models.networks.zspace import ProfileNetwork, SliceNetwork, VolumeDecoder
from sage_perception.training.zspace.fit import fit
from sage_perception.zspace import InterpolationMethod, ZSpaceVolume

WINDOW = 20
HELD_OUT = 4
STEPS = (30, 60, 120, 240, 480)
CIFAR_TRAINING, CIFAR_HELD_OUT = 1500, 300


def clips(shared: Path) -> list[np.ndarray]:
    """Return the clips of DAVIS as gray frames in [0, 1], float32 `[T, 60, 80]`."""
    found = []
    for folder in sorted((shared / 'video_masks_davis/JPEGImages').iterdir()):
        images = [
            cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_4)
            for path in sorted(folder.glob('*.jpg'))
        ]
        small = [cv2.resize(i, (80, 60), interpolation=cv2.INTER_AREA) for i in images]
        found.append(np.stack(small).astype(np.float32) / 255)
    return found


def profiles(clip: np.ndarray) -> np.ndarray:
    """Return the profiles `[T - 1, 9]` of volumes of contrast, change and edges."""
    found = []
    for before, frame in itertools.pairwise(clip):
        mean = cv2.blur(frame, (9, 9))
        contrast = np.sqrt(np.maximum(cv2.blur(frame * frame, (9, 9)) - mean * mean, 0))
        edges = abs(cv2.Laplacian(frame, cv2.CV_32F))
        volume = ZSpaceVolume.from_slices([contrast, abs(frame - before), edges])
        found.append(np.concatenate(volume.slice_profile()))
    return np.array(found, np.float32)


def _split(items: list, seed: int) -> tuple[list, list]:
    order = np.random.default_rng(seed).permutation(len(items))
    return [items[i] for i in order[HELD_OUT:]], [items[i] for i in order[:HELD_OUT]]


def generator(seeds: list[int], data: list[np.ndarray]) -> dict:
    """Return the mean squared error, one frame ahead, of standardized profiles."""
    sequences = [profiles(clip) for clip in data]
    ours, persistence, linear = [], [], []
    for seed in seeds:
        torch.manual_seed(seed)
        training, held_out = _split(sequences, seed)
        every = np.concatenate(training)
        mean = every.mean(axis=0)
        changes = np.concatenate([np.diff(s, axis=0) for s in training])
        scale = np.std(changes, axis=0) + 1e-6
        network = _forecast(training, torch.from_numpy(mean), torch.from_numpy(scale), seed)
        standard = [(s - mean) / scale for s in training]
        inputs = np.concatenate([_regressors(s) for s in standard])
        targets = np.concatenate([s[2:] for s in standard])
        weights = np.linalg.lstsq(inputs, targets, rcond=None)[0]
        squares: list[list[np.ndarray]] = [[], [], []]
        for sequence in held_out:
            predictor = zspace.ProfilePredictor(network.arrays())
            ahead = np.stack(
                [
                    np.concatenate(predictor.predict(zspace.SliceProfile(*p.reshape(3, 3))))
                    for p in sequence
                ]
            )
            known = (sequence - mean) / scale
            for errors, guess in zip(
                squares,
                ((ahead - mean) / scale, known, _regressors(known) @ weights),
                strict=True,
            ):
                # The prediction from frame t is for frame t + 1.
                guess = guess[1:-1] if len(guess) == len(known) else guess
                errors.append(np.square(guess - known[2:]))
        for total, errors in zip((ours, persistence, linear), squares, strict=True):
            total.append(float(np.concatenate(errors).mean()))
    return _figures(seeds, ours, persistence=persistence, linear_autoregression=linear)


def _forecast(
    sequences: list[np.ndarray], mean: torch.Tensor, scale: torch.Tensor, seed: int
) -> ProfileNetwork:
    """Return the network of the best length of training, judged on two of the training clips."""

    def windows(some: list[np.ndarray]) -> torch.Tensor:
        found = [s[i : i + WINDOW] for s in some for i in range(len(s) - WINDOW + 1)]
        return torch.from_numpy(np.stack(found))

    training, validation = windows(sequences[2:]), windows(sequences[:2])
    networks = []
    for steps in STEPS:
        torch.manual_seed(seed)
        network = ProfileNetwork(mean, scale)
        networks.append(fit(network, training, steps=steps, seed=seed))
    with torch.no_grad():
        return min(networks, key=lambda network: network.loss(validation).item())


def _regressors(sequence: np.ndarray) -> np.ndarray:
    """Return the last two profiles and a constant for each target `sequence[2:]`."""
    return np.column_stack([sequence[1:-1], sequence[:-2], np.ones(len(sequence) - 2)])


def super_resolution(seeds: list[int], data: list[np.ndarray]) -> dict:
    """Return the PSNR, dB, of the frame between frames: slices are frames two steps apart."""

    def samples(some: list[np.ndarray], count: int, seed: int) -> np.ndarray:
        random, found = np.random.default_rng(seed), []
        for _ in range(count):
            clip = some[random.integers(len(some))]
            t = random.integers(3, len(clip) - 3)
            y, x = random.integers(0, 60 - 24), random.integers(0, 80 - 24)
            found.append(clip[[t - 3, t - 1, t + 1, t + 3, t], y : y + 24, x : x + 24])
        return np.stack(found)

    found: dict[str, list[float]] = {'ours': [], 'cubic': [], 'linear': [], 'nearest': []}
    for seed in seeds:
        torch.manual_seed(seed)
        training, held_out = _split(data, seed)
        network = SliceNetwork()
        fit(network, torch.from_numpy(samples(training, 2000, seed)), steps=500, seed=seed)
        trained = zspace.ZSuperResolution(network.arrays())
        errors: dict[str, list[float]] = {name: [] for name in found}
        for sample in samples(held_out, 200, 1000 + seed):
            volume = ZSpaceVolume(sample[:4])
            middles = {'ours': trained.interpolate(volume)} | {
                m.value: volume.interpolate(m) for m in InterpolationMethod
            }
            for name, result in middles.items():
                errors[name].append(float(np.square(result.values[3] - sample[4]).mean()))
        for name, values in errors.items():
            found[name].append(float(psnr_from_mse(np.mean(values))))
    return _figures(seeds, found.pop('ours'), **found)


def decoder(seeds: list[int], shared: Path) -> dict:
    """Return the PSNR, dB, of 32×32 images decoded from latents of tinyvae, RGB as slices."""
    codec = load_crop_codec('tinyvae')
    paths = sorted((shared / 'images_cifar10/train').rglob('*.jpg'))
    found: dict[str, list[float]] = {'ours': [], 'random': [], 'mean_image': [], 'tinyvae': []}
    for seed in seeds:
        torch.manual_seed(seed)
        chosen = np.random.default_rng(seed).permutation(len(paths))
        images = [
            cv2.cvtColor(cv2.imread(str(paths[i])), cv2.COLOR_BGR2RGB)
            for i in chosen[: CIFAR_TRAINING + CIFAR_HELD_OUT]
        ]
        small = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255
        large = np.stack([cv2.resize(i, (64, 64), interpolation=cv2.INTER_CUBIC) for i in images])
        inputs = large.transpose(0, 3, 1, 2).astype(np.float32) / 255
        latents = np.concatenate([codec.encode(p) for p in np.array_split(inputs, 30)])
        values = 2 * small.reshape(len(small), -1) - 1
        pairs = np.column_stack([latents, values]).astype(np.float32)
        network = VolumeDecoder(latents.shape[1], values.shape[1])
        training = torch.from_numpy(pairs[:CIFAR_TRAINING])
        fit(network, training, steps=800, batch=64, learning_rate=1e-2, seed=seed)
        trained = zspace.ZDecoder.from_state_dict(network.arrays(), (3, 32, 32))
        untrained = zspace.ZDecoder(3, 32, 32, seed)
        held_out = slice(CIFAR_TRAINING, None)
        decoded = codec.decode(latents[held_out])
        half = decoded.reshape(len(decoded), 3, 32, 2, 32, 2).mean((3, 5))
        guesses = {
            'ours': [(trained.decode(z).values + 1) / 2 for z in latents[held_out]],
            'random': [(untrained.decode(z).values + 1) / 2 for z in latents[held_out]],
            'mean_image': [small[:CIFAR_TRAINING].mean(axis=0)] * CIFAR_HELD_OUT,
            'tinyvae': list(half),
        }
        for name, guess in guesses.items():
            errors = np.square(np.stack(guess) - small[held_out]).mean((1, 2, 3))
            found[name].append(float(psnr_from_mse(errors).mean()))
    return _figures(seeds, found.pop('ours'), **found)


def _figures(seeds: list[int], ours: list[float], **baselines: list[float]) -> dict:
    return {
        'value': round(float(np.mean(ours)), 4),
        'by_seed': [round(v, 4) for v in ours],
        'baselines': {n: round(float(np.mean(v)), 4) for n, v in baselines.items()},
        'seeds': seeds,
    }
