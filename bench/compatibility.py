# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Whether compatibility trust tells what a receiver gets, and what calibration recovers.

Part of `bench/trust.py`. Encoders are made from the shipped one (weights pruned, rounded, noisy;
latents turned, stretched, cut), fitted (PCA), and trained for a minute on other images. Each
pair is judged on the probes alone; the truth is the PSNR of real crops, of files that no encoder
was trained on, that travel from one to the other.
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
class Voice:
    """An encoder and, where it also listens, a decoder."""

    name: str
    encode: Coder
    decode: Coder | None
    dim: int
    input_size: int = 64
    input_channels: int = 3

    @property
    def id(self) -> ModelId:
        """Return an identity that no other voice has."""
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


def altered(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> Coder:
    """Return an ONNX encoder with its weights changed."""
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


def variants(folder: Path, base: Voice, packer: Packer) -> list[Voice]:
    """Return what becomes of the shipped encoder by changes of its weights, latents and input."""
    rng = np.random.default_rng(0)
    path = folder / ENCODER
    coders = {
        'weights fp16': altered(path, lambda w: w.astype(np.float16)),
        'weights 8 bit': altered(path, rounded(8)),
        'weights 5 bit': altered(path, rounded(5)),
        'weights 4 bit': altered(path, rounded(4)),
    }
    coders |= {f'pruned {s:.0%}': altered(path, pruned(s)) for s in (0.3, 0.5, 0.7, 0.9)}
    for level in (0.02, 0.05, 0.1, 0.2, 0.4):
        coders[f'noisy weights {level:.0%}'] = altered(path, noisy(level, rng))
    rotation = qr(rng.standard_normal((base.dim, base.dim)))[0]
    stretch = rng.permutation(np.logspace(-1, 1, base.dim))

    def wired(form):
        return lambda x: np.stack(
            [packer.unpack(packer.pack(z, form), form) for z in base.encode(x)]
        )

    def worn(level):
        return lambda x: base.encode(x) + noise(len(x), base.dim) * level * packer_std

    packer_std = base.encode(probes.to_input()[HELD]).std(0)
    coders |= {
        'wire float16': wired(Encoding.FLOAT16),
        'wire int8': wired(Encoding.INT8),
        'wire entropy int8': wired(Encoding.ENTROPY_INT8),
        'turned': lambda x: base.encode(x) @ rotation,
        'stretched': lambda x: base.encode(x) * stretch,
        'turned and stretched': lambda x: base.encode(x) * stretch @ rotation,
        'seen blurred': lambda x: base.encode(blurred(x)),
        'seen gray': lambda x: base.encode(x.mean(1, keepdims=True).repeat(3, 1)),
        'red for blue': lambda x: base.encode(x[:, ::-1]),
        'white noise': lambda x: noise(len(x), base.dim),
    }
    coders |= {f'latent noise {s:g} σ': worn(s) for s in (0.1, 0.3, 1.0)}
    voices = [Voice(name, coder, None, base.dim) for name, coder in coders.items()]
    for kept in (48, 32, 16):
        coder = (lambda k: lambda x: base.encode(x)[:, :k])(kept)
        voices.append(Voice(f'first {kept} dimensions', coder, None, kept))
    return voices


def noise(count: int, dim: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, dim)).astype(np.float32)


def blurred(x: np.ndarray) -> np.ndarray:
    images = [cv2.GaussianBlur(p.transpose(1, 2, 0), (0, 0), 1.5) for p in x]
    return np.stack(images).transpose(0, 3, 1, 2)


def pca_voice(name: str, x: np.ndarray, dim: int) -> Voice:
    fitted = pca.fit(x, dim)

    def encode(x):
        return (x.reshape(len(x), -1) - fitted.mean) @ fitted.components.T

    def decode(z):
        return (z @ fitted.components + fitted.mean).clip(0, 1).reshape(-1, 3, 64, 64)

    return Voice(name, encode, decode, dim)


def trained_voice(name: str, network, crops: np.ndarray, steps: int, seed: int) -> Voice:
    """Return a network after `steps` of plain training on float32 crops `[N, 3, 64, 64]`."""
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

    return Voice(name, encode, decode, network.config.latent_dim)


def cca(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights and offset of the map through canonical variates, and their correlations."""
    x, y, mean_x, mean_y = centered(source, target)
    (ux, sx, vx), (uy, sy, vy) = (svd(m, full_matrices=False) for m in (x, y))
    keep_x, keep_y = sx > 1e-6 * sx[0], sy > 1e-6 * sy[0]
    a, rho, b = svd(ux[:, keep_x].T @ uy[:, keep_y], full_matrices=False)
    weights = (vx[keep_x].T / sx[keep_x]) @ a * rho @ b @ (sy[keep_y, None] * vy[keep_y])
    return weights, mean_y - mean_x @ weights, rho


def relative(z: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return cosines of latents to those of the anchors, centered (Moschella et al., 2023)."""
    z, anchors = z - anchors.mean(0), anchors - anchors.mean(0)
    z, anchors = (m / np.maximum(np.linalg.norm(m, axis=1), 1e-12)[:, None] for m in (z, anchors))
    return z @ anchors.T


def cka(a: np.ndarray, b: np.ndarray) -> float:
    """Return linear centered kernel alignment (Kornblith et al., 2019)."""
    x, y, *_ = centered(a, b)
    cross = np.square(x.T @ y).sum()
    return float(cross / max(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y), 1e-12))


def similarities(sent: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """Return other scores of the latents of all probes."""
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
    """Return a ridge map with a small network for what it leaves, stopped where it is best."""
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
    if state is None:  # nothing helped
        return lambda z: affine(z, weights, offset)
    network.load_state_dict(state)

    def apply(z):
        with torch.inference_mode():
            more = network(torch.from_numpy(np.float32((z - mean) / std))).numpy()
        return affine(z, weights, offset) + np.float32(scale) * more

    return apply


def compare_maps(
    sender: Voice, estimator: CompatibilityEstimator, x, real, sent
) -> dict[str, float]:
    """Return the PSNR of crops `x` through each kind of map; `real` are as many real anchors."""
    own, receiver = estimator.latents, estimator.model
    z = sender.encode(x)
    anchors = sent[FIT]
    through = {
        'procrustes': affine(z, *procrustes(anchors, own[FIT])),
        'cca': affine(z, *cca(anchors, own[FIT])[:2]),
        'relative': affine(relative(z, anchors), *ridge(relative(anchors, anchors), own[FIT])),
        'ridge': affine(z, *ridge(anchors, own[FIT])),
        'ridge and network': with_network(anchors, own[FIT])(z),
        'ridge on real crops': affine(z, *ridge(sender.encode(real), receiver.encode(real))),
    }
    if sender.dim == receiver.dim:
        through['identity'] = z
    return {name: mean_psnr(receiver.decode(np.float32(z)), x) for name, z in through.items()}


def judge(
    sender: Voice, estimator: CompatibilityEstimator, x: np.ndarray, native: float, sent
) -> dict:
    """Return trust, other scores and the truth of a pair; `native` is the receiver's PSNR."""
    receiver = estimator.model
    result = estimator.evaluate(sent, sender.id)
    z = sender.encode(x)
    through = result.latent_map.apply(z) if result.calibrated else z
    got = mean_psnr(receiver.decode(through), x) if through.shape[1] == receiver.dim else np.nan
    plain = mean_psnr(x.mean((2, 3), keepdims=True), x)
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
        'gap_db': native - got,
        'gain': (got - plain) / (native - plain),
    }


def gather(data: Path, config: Path, rng_seed: int) -> dict[str, np.ndarray]:
    """Return crops, float32 `[N, 3, 64, 64]`: of two halves of the stills, motion, held out."""
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

    `config` tells which files under `data` are held out; networks train for so many `steps`.
    """
    crops = gather(data, config, 0)
    x = crops['held out']

    codec = load(model, backend='onnxruntime')
    folder = codec.artifact.path
    base = Voice('shipped', codec.encode, codec.decode, codec.latent_dim)
    natives = [base]
    for kind in ('stills A', 'motion'):
        natives.append(pca_voice(f'PCA of {kind}', crops[kind][:1500], 64))
    for kind in ('stills B', 'motion'):
        network = TinyVAE(TinyVAEConfig(**codec.config))
        network.init_from_crops(torch.from_numpy(crops[kind][:1500]))
        natives.append(trained_voice(f'trained on {kind}', network, crops[kind], steps, 1))
    tuned = load(model, backend='torch').module.requires_grad_(True)
    natives.append(trained_voice('tuned on motion', tuned, crops['motion'], steps, 2))
    voices = natives + variants(folder, base, Packer.of(codec))
    voices += [pca_voice(f'PCA {d} of stills A', crops['stills A'][:1500], d) for d in (16, 32)]

    native = {voice.name: mean_psnr(voice.decode(voice.encode(x)), x) for voice in natives}
    sent = {voice.name: probe_latents(voice) for voice in voices}
    estimators = {voice.name: CompatibilityEstimator(voice) for voice in natives}
    all_ears = {'shipped', 'PCA of motion'}
    pairs, maps = [], {}
    for sender, receiver in itertools.product(voices, natives):
        if sender.name not in native and receiver.name not in all_ears:
            continue
        estimator = estimators[receiver.name]
        pair = judge(sender, estimator, x, native[receiver.name], sent[sender.name])
        if sender.name in native and sender is not receiver:
            plain = mean_psnr(x.mean((2, 3), keepdims=True), x)
            weaker = min(native[sender.name], native[receiver.name])
            got = native[receiver.name] - pair['gap_db']
            pair['recovery'] = (got - plain) / (weaker - plain)
            pair['below_weaker_db'] = weaker - got
            if receiver.name in all_ears:
                real = crops['stills A'][-probes.FITTED :]
                through = compare_maps(sender, estimator, x, real, sent[sender.name])
                for name, value in through.items():
                    maps.setdefault(name, []).append(native[receiver.name] - value)
        pairs.append(pair)
        print(
            f'{pair["receiver"]:20} ← {pair["sender"]:22} trust {pair["trust_before"]:.2f} → '
            f'{pair["trust"]:.3f} (forward {pair["forward"]:.3f}, backward '
            f'{pair["backward"]:.3f})  raw cosine {pair["raw_cosine"]:+.2f}  gap '
            f'{pair["gap_db"]:6.2f} dB',
            file=sys.stderr,
        )
    plain = mean_psnr(x.mean((2, 3), keepdims=True), x)
    return {**summary(pairs, maps, native, plain), 'table': pairs}


def summary(pairs: list[dict], maps: dict, native: dict, plain: float) -> dict:
    """Return the figures over all pairs but those of a model with itself."""
    others = [p for p in pairs if p['receiver'] != p['sender'] and np.isfinite(p['gap_db'])]
    different = [p for p in others if 'recovery' in p]
    columns = ('trust', 'forward', 'backward', 'r2', 'trust_before', 'raw_cosine')
    columns += ('centered_cosine', 'cka', 'cca', 'relative')

    def rank(rows, column, truth):
        sign = -1 if truth == 'gap_db' else 1
        value = spearmanr([p[column] for p in rows], [sign * p[truth] for p in rows]).statistic
        return round(float(value), 4)

    return {
        'pairs': len(others),
        'spearman_trust_quality': rank(others, 'trust', 'gap_db'),
        'spearman': {
            truth: {column: rank(others, column, truth) for column in columns}
            for truth in ('gap_db', 'gain')
        },
        'calibration_recovery': round(float(np.mean([p['recovery'] for p in different])), 4),
        'calibration_recovery_least': round(min(p['recovery'] for p in different), 4),
        'below_weaker_db_most': round(max(p['below_weaker_db'] for p in different), 3),
        'different_training_pairs': len(different),
        'gap_db_by_map': {name: round(float(np.mean(gaps)), 3) for name, gaps in maps.items()},
        'native_psnr': {name: round(value, 2) for name, value in native.items()},
        'plain_psnr': round(plain, 2),
        'probes': probes.COUNT,
        'fitted': probes.FITTED,
    }
