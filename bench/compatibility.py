# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Agreement of compatibility trust with image quality, and the gain by latent maps.

Part of `bench/trust.py`. The senders are the shipped encoder, variants of it (weights pruned,
quantized, noisy; latents rotated, stretched, truncated), principal components, and networks that
are trained for a minute on other images. The trust of each pair is measured on the probe images
alone and compared with the PSNR of crops that the sender encodes and the receiver decodes. No
encoder was trained on the files of these crops.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from scipy.linalg import qr, svd
from scipy.stats import spearmanr
from torch.nn.functional import mse_loss

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import ModelId
from sage_perception.core.metrics import batch_psnr
from sage_perception.models import load, pca
from sage_perception.models.artifact import ENCODER
from sage_perception.models.networks.tinyvae import TinyVAE, TinyVAEConfig
from sage_perception.training.config import read_config
from sage_perception.training.data.crops import Clips, CropConfig, Stills
from sage_perception.training.data.files import CLIP_SUFFIXES, IMAGE_SUFFIXES, find_files, matches
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture
from sage_perception.trust.compatibility import probe_set as probes
from sage_perception.trust.compatibility.estimator import CompatibilityEstimator, mean_cosine
from sage_perception.trust.compatibility.latent_map import affine, centered, procrustes, ridge
from sage_perception.trust.compatibility.probe_set import probe_latents

FIT, HELD = slice(0, probes.FITTED), slice(probes.FITTED, None)
Coder = Callable[[np.ndarray], np.ndarray]


def mean_psnr(y: np.ndarray, x: np.ndarray) -> float:
    """Return the mean PSNR of images `[B, C, H, W]`, dB."""
    return float(batch_psnr(y, x).mean())


@dataclass(frozen=True)
class Endpoint:
    """A sender: an encoder; with a decoder also a receiver."""

    name: str
    encode: Coder
    decode: Coder | None
    dim: int
    input_size: int = 64
    input_channels: int = 3

    @property
    def id(self) -> ModelId:
        """Return a unique identity."""
        return ModelId(self.name, '', hashlib.sha256(self.name.encode()).digest())

    @property
    def latent_shape(self) -> tuple[int]:
        """Return the shape of a latent."""
        return (self.dim,)


def onnx_coder(graph: bytes) -> Coder:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name

    def run(x):
        parts = [x[i : i + 64].astype(np.float32) for i in range(0, len(x), 64)]
        return np.concatenate([session.run(None, {name: part})[0] for part in parts])

    return run


def with_weights(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> Coder:
    """Return an ONNX encoder with each weight tensor replaced by `change` of it."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.ndim >= 2 and weights.dtype == np.float32:
            new = np.ascontiguousarray(change(weights), np.float32)
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    return onnx_coder(model.SerializeToString())


def pruned(share: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda w: np.where(abs(w) < np.quantile(abs(w), share), 0, w)


def rounded(bits: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(w):
        step = max(abs(w).max(), 1e-12) / (2 ** (bits - 1) - 1)
        return np.rint(w / step) * step

    return change


def noisy(level: float, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    return lambda w: w + level * w.std() * rng.standard_normal(w.shape)


def variants(folder: Path, base: Endpoint, packer: Packer) -> list[Endpoint]:
    """Return variants of the shipped encoder with other weights, latents and inputs."""
    rng = np.random.default_rng(0)
    path = folder / ENCODER
    coders = {
        'weights fp16': with_weights(path, lambda w: w.astype(np.float16)),
        'weights 8 bit': with_weights(path, rounded(8)),
        'weights 5 bit': with_weights(path, rounded(5)),
        'weights 4 bit': with_weights(path, rounded(4)),
    }
    coders |= {f'pruned {s:.0%}': with_weights(path, pruned(s)) for s in (0.3, 0.5, 0.7, 0.9)}
    for level in (0.02, 0.05, 0.1, 0.2, 0.4):
        coders[f'noisy weights {level:.0%}'] = with_weights(path, noisy(level, rng))
    rotation = qr(rng.standard_normal((base.dim, base.dim)))[0]
    stretch = rng.permutation(np.logspace(-1, 1, base.dim))

    def transmitted(encoding):
        return lambda x: np.stack(
            [packer.unpack(packer.pack(z, encoding), encoding) for z in base.encode(x)]
        )

    def with_noise(level):
        return lambda x: base.encode(x) + noise(len(x), base.dim) * level * packer_std

    packer_std = base.encode(probes.scale(probes.images()[HELD], probes.SIZE, 3)).std(0)
    coders |= {
        'encoding float16': transmitted(Encoding.FLOAT16),
        'encoding int8': transmitted(Encoding.INT8),
        'encoding entropy_int8': transmitted(Encoding.ENTROPY_INT8),
        'rotated': lambda x: base.encode(x) @ rotation,
        'stretched': lambda x: base.encode(x) * stretch,
        'rotated and stretched': lambda x: base.encode(x) * stretch @ rotation,
        'blurred input': lambda x: base.encode(blurred(x)),
        'gray input': lambda x: base.encode(x.mean(1, keepdims=True).repeat(3, 1)),
        'red and blue swapped': lambda x: base.encode(x[:, ::-1]),
        'white noise': lambda x: noise(len(x), base.dim),
    }
    coders |= {f'latent noise {s:g} σ': with_noise(s) for s in (0.1, 0.3, 1.0)}
    endpoints = [Endpoint(name, coder, None, base.dim) for name, coder in coders.items()]
    for kept in (48, 32, 16):
        coder = (lambda k: lambda x: base.encode(x)[:, :k])(kept)
        endpoints.append(Endpoint(f'first {kept} dimensions', coder, None, kept))
    return endpoints


def noise(count: int, dim: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, dim)).astype(np.float32)


def blurred(x: np.ndarray) -> np.ndarray:
    images = [cv2.GaussianBlur(p.transpose(1, 2, 0), (0, 0), 1.5) for p in x]
    return np.stack(images).transpose(0, 3, 1, 2)


def pca_endpoint(name: str, x: np.ndarray, dim: int) -> Endpoint:
    fitted = pca.fit(x, dim)

    def encode(x):
        return (x.reshape(len(x), -1) - fitted.mean) @ fitted.components.T

    def decode(z):
        return (z @ fitted.components + fitted.mean).clip(0, 1).reshape(-1, 3, 64, 64)

    return Endpoint(name, encode, decode, dim)


def trained_endpoint(name: str, network, crops: np.ndarray, steps: int, seed: int) -> Endpoint:
    """Return a network after `steps` steps of training on crops, float32 `[N, 3, 64, 64]`."""
    torch.manual_seed(seed)
    network = network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    images = torch.from_numpy(crops)
    for _ in range(steps):
        x = images[torch.randint(len(images), (32,))]
        loss = mse_loss(network(x)[0], x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()

    def encode(x):
        with torch.inference_mode():
            return network.encode(torch.from_numpy(np.ascontiguousarray(x)))[0].numpy()

    def decode(z):
        with torch.inference_mode():
            return network.decode(torch.from_numpy(z)).clamp(0, 1).numpy()

    return Endpoint(name, encode, decode, network.config.latent_dim)


def cca(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, offset and correlations of the map by canonical correlation analysis."""
    x, y, mean_x, mean_y = centered(source, target)
    (ux, sx, vx), (uy, sy, vy) = (svd(m, full_matrices=False) for m in (x, y))
    keep_x, keep_y = sx > 1e-6 * sx[0], sy > 1e-6 * sy[0]
    a, rho, b = svd(ux[:, keep_x].T @ uy[:, keep_y], full_matrices=False)
    weights = (vx[keep_x].T / sx[keep_x]) @ a * rho @ b @ (sy[keep_y, None] * vy[keep_y])
    return weights, mean_y - mean_x @ weights, rho


def relative(z: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the centered cosines of latents to anchor latents (Moschella et al., 2023)."""
    z, anchors = z - anchors.mean(0), anchors - anchors.mean(0)
    z, anchors = (m / np.maximum(np.linalg.norm(m, axis=1), 1e-12)[:, None] for m in (z, anchors))
    return z @ anchors.T


def cka(a: np.ndarray, b: np.ndarray) -> float:
    """Return linear centered kernel alignment (Kornblith et al., 2019)."""
    x, y, *_ = centered(a, b)
    cross = np.square(x.T @ y).sum()
    return float(cross / max(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y), 1e-12))


def similarities(sent: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """Return other similarity scores of the latents of the probe images."""
    alike = sent.shape[1] == own.shape[1]
    mean = sent[FIT].mean(0), own[FIT].mean(0)
    scores = {
        'raw_cosine': mean_cosine(sent[HELD], own[HELD]) if alike else 0.0,
        'centered_cosine': mean_cosine(sent[HELD] - mean[0], own[HELD] - mean[1])
        if alike
        else 0.0,
        'cka': cka(sent[HELD], own[HELD]),
        'cca': float(np.mean(cca(sent[FIT], own[FIT])[2])),
        'relative': mean_cosine(relative(sent[HELD], sent[FIT]), relative(own[HELD], own[FIT])),
    }
    return scores


def with_network(source: np.ndarray, target: np.ndarray) -> Coder:
    """Return a ridge map plus a small network for its residual, with early stopping."""
    weights, offset = ridge(source, target)
    mean, std = source.mean(0), max(source.std(), 1e-12)
    rest = target - affine(source, weights, offset)
    scale = max(rest.std(), 1e-12)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(source.shape[1], 128), torch.nn.GELU(), torch.nn.Linear(128, rest.shape[1])
    )
    x, y = (torch.from_numpy(np.float32(m)) for m in ((source - mean) / std, rest / scale))
    fit = len(x) * 4 // 5
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.1)
    best, state = float(mse_loss(torch.zeros_like(y[fit:]), y[fit:])), None
    for _ in range(300):
        optimizer.zero_grad()
        mse_loss(network(x[:fit]), y[:fit]).backward()
        optimizer.step()
        with torch.no_grad():
            error = float(mse_loss(network(x[fit:]), y[fit:]))
        if error < best:
            best, state = error, {k: v.clone() for k, v in network.state_dict().items()}
    if state is None:  # the network never reduced the error
        return lambda z: affine(z, weights, offset)
    network.load_state_dict(state)

    def apply(z):
        with torch.inference_mode():
            more = network(torch.from_numpy(np.float32((z - mean) / std))).numpy()
        return affine(z, weights, offset) + np.float32(scale) * more

    return apply


def psnr_by_map(
    sender: Endpoint, estimator: CompatibilityEstimator, x, real, sent
) -> dict[str, float]:
    """Return the PSNR of crops `x` for each kind of map; `real` are real crops to fit one on."""
    own, receiver = estimator.latents, estimator.model
    z = sender.encode(x)
    anchors = sent[FIT]
    translated = {
        'procrustes': affine(z, *procrustes(anchors, own[FIT])),
        'cca': affine(z, *cca(anchors, own[FIT])[:2]),
        'relative': affine(relative(z, anchors), *ridge(relative(anchors, anchors), own[FIT])),
        'ridge': affine(z, *ridge(anchors, own[FIT])),
        'ridge and network': with_network(anchors, own[FIT])(z),
        'ridge on real crops': affine(z, *ridge(sender.encode(real), receiver.encode(real))),
    }
    if sender.dim == receiver.dim:
        translated['identity'] = z
    return {name: mean_psnr(receiver.decode(np.float32(z)), x) for name, z in translated.items()}


def measure_pair(
    sender: Endpoint, estimator: CompatibilityEstimator, x: np.ndarray, own_psnr: float, sent
) -> dict:
    """Return the trust, other scores, and the quality of a pair.

    `own_psnr` is that of the receiver with its own latents.
    """
    receiver = estimator.model
    result = estimator.evaluate(sent, sender.id)
    z = sender.encode(x)
    translated = result.latent_map.apply(z) if result.calibrated else z
    received_psnr = (
        mean_psnr(receiver.decode(translated), x)
        if translated.shape[1] == receiver.dim
        else np.nan
    )
    mean_color_psnr = mean_psnr(x.mean((2, 3), keepdims=True), x)
    return {
        'receiver': receiver.name,
        'sender': sender.name,
        'trust_before': result.before.compression_trust,
        'trust': result.trust.compression_trust,
        'forward': result.trust.forward,
        'backward': result.trust.backward,
        'calibrated': result.calibrated,
        'r2': result.latent_map.r2,
        **similarities(sent, estimator.latents),
        'gap_db': own_psnr - received_psnr,
        'gain': (received_psnr - mean_color_psnr) / (own_psnr - mean_color_psnr),
    }


def load_crops(data: Path, config: Path, rng_seed: int) -> dict[str, np.ndarray]:
    """Return crops, float32 `[N, 3, 64, 64]`: two halves of the stills, clips, held out."""
    tree = read_config(config).data
    root = data
    images = [p for p in find_files(root, IMAGE_SUFFIXES) if not matches(p, tree.exclude)]
    clips = [p for p in find_files(root, CLIP_SUFFIXES) if not matches(p, tree.exclude)]
    known = [p for p in images if not matches(p, tree.held_out)]
    order = np.random.default_rng(rng_seed).permutation(len(known))
    known = [known[i] for i in order]

    def crops(source, count, seed):
        return to_model(Mixture((source,), (1.0,), CropConfig()).sample(count, seed), 3)

    half = len(known) // 2
    unseen = [p for p in images if matches(p, tree.held_out)]
    return {
        'stills A': crops(Stills(known[:half]), 3000, 1),
        'stills B': crops(Stills(known[half:]), 3000, 2),
        'motion': crops(Clips([p for p in clips if not matches(p, tree.held_out)][:2]), 2000, 3),
        'held out': np.concatenate(
            [
                crops(Stills(unseen), 80, 4),
                crops(Clips([p for p in clips if matches(p, tree.held_out)]), 40, 5),
            ]
        ),
    }


def measure(model: str, data: Path, config: Path, steps: int) -> dict:
    """Return the figures of a model, and a table of all pairs.

    `config` selects the files under `data` that are held out; networks train for `steps` steps.
    """
    crops = load_crops(data, config, 0)
    x = crops['held out']

    codec = load(model, backend='onnxruntime')
    folder = codec.artifact.path
    base = Endpoint('shipped', codec.encode, codec.decode, codec.latent_dim)
    receivers = [base]
    for kind in ('stills A', 'motion'):
        receivers.append(pca_endpoint(f'PCA of {kind}', crops[kind][:1500], 64))
    for kind in ('stills B', 'motion'):
        network = TinyVAE(TinyVAEConfig(**codec.config))
        network.init_from_crops(torch.from_numpy(crops[kind][:1500]))
        receivers.append(trained_endpoint(f'trained on {kind}', network, crops[kind], steps, 1))
    tuned = load(model, backend='torch').module.requires_grad_(True)
    receivers.append(trained_endpoint('tuned on motion', tuned, crops['motion'], steps, 2))
    endpoints = receivers + variants(folder, base, Packer.of(codec))
    endpoints += [
        pca_endpoint(f'PCA {d} of stills A', crops['stills A'][:1500], d) for d in (16, 32)
    ]

    own_psnr = {
        endpoint.name: mean_psnr(endpoint.decode(endpoint.encode(x)), x) for endpoint in receivers
    }
    sent = {endpoint.name: probe_latents(endpoint) for endpoint in endpoints}
    estimators = {endpoint.name: CompatibilityEstimator(endpoint) for endpoint in receivers}
    full_receivers = {'shipped', 'PCA of motion'}
    pairs, maps = [], {}
    for sender, receiver in itertools.product(endpoints, receivers):
        if sender.name not in own_psnr and receiver.name not in full_receivers:
            continue
        estimator = estimators[receiver.name]
        pair = measure_pair(sender, estimator, x, own_psnr[receiver.name], sent[sender.name])
        if sender.name in own_psnr and sender is not receiver:
            mean_color_psnr = mean_psnr(x.mean((2, 3), keepdims=True), x)
            weaker = min(own_psnr[sender.name], own_psnr[receiver.name])
            received_psnr = own_psnr[receiver.name] - pair['gap_db']
            pair['recovery'] = (received_psnr - mean_color_psnr) / (weaker - mean_color_psnr)
            pair['below_weaker_db'] = weaker - received_psnr
            if receiver.name in full_receivers:
                real = crops['stills A'][-probes.FITTED :]
                translated = psnr_by_map(sender, estimator, x, real, sent[sender.name])
                for name, value in translated.items():
                    maps.setdefault(name, []).append(own_psnr[receiver.name] - value)
        pairs.append(pair)
        print(
            f'{pair["receiver"]:20} ← {pair["sender"]:22} trust {pair["trust_before"]:.2f} → '
            f'{pair["trust"]:.3f} (forward {pair["forward"]:.3f}, backward '
            f'{pair["backward"]:.3f})  raw cosine {pair["raw_cosine"]:+.2f}  gap '
            f'{pair["gap_db"]:6.2f} dB',
            file=sys.stderr,
        )
    mean_color_psnr = mean_psnr(x.mean((2, 3), keepdims=True), x)
    return {**summary(pairs, maps, own_psnr, mean_color_psnr), 'table': pairs}


def summary(pairs: list[dict], maps: dict, own_psnr: dict, mean_color_psnr: float) -> dict:
    """Return the figures over all pairs of different endpoints."""
    distinct = [p for p in pairs if p['receiver'] != p['sender'] and np.isfinite(p['gap_db'])]
    different = [p for p in distinct if 'recovery' in p]
    columns = ('trust', 'forward', 'backward', 'r2', 'trust_before', 'raw_cosine')
    columns += ('centered_cosine', 'cka', 'cca', 'relative')

    def rank(rows, column, truth):
        sign = -1 if truth == 'gap_db' else 1
        value = spearmanr([p[column] for p in rows], [sign * p[truth] for p in rows]).statistic
        return round(float(value), 4)

    return {
        'pairs': len(distinct),
        'spearman_trust_quality': rank(distinct, 'trust', 'gap_db'),
        'spearman': {
            truth: {column: rank(distinct, column, truth) for column in columns}
            for truth in ('gap_db', 'gain')
        },
        'alignment_recovery': round(float(np.mean([p['recovery'] for p in different])), 4),
        'alignment_recovery_min': round(min(p['recovery'] for p in different), 4),
        'below_weaker_db_max': round(max(p['below_weaker_db'] for p in different), 3),
        'different_training_pairs': len(different),
        'gap_db_by_map': {name: round(float(np.mean(gaps)), 3) for name, gaps in maps.items()},
        'own_psnr': {name: round(value, 2) for name, value in own_psnr.items()},
        'mean_color_psnr': round(mean_color_psnr, 2),
        'probes': probes.COUNT,
        'fitted': probes.FITTED,
    }
