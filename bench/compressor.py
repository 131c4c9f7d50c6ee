# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the information that compressors of H contexts retain in their 256-D codes.

    for v in bottleneck attention hierarchical hybrid linear; do
      sage train config/train/h_to_l_$v.yaml
    done
    python bench/compressor.py

Measures each trained variant, or null if it is not trained, on contexts of held-out files:
`retained_r2` of the clips, `retained_r2_images` of the montages. R² is relative to the mean of
each value over these contexts. `hybrid_shipped` is the artifact in the package, on ONNX Runtime.
`probes` is explained in context_probes.py. `bridge` is the share of the variance of held-out codes
that is lost through `HRMLatentBridge` and back.

`--choose` measures the choices of hyperparameters instead: shrinkage, rounds of inference, and
training steps of the hybrid, on sources of the training contexts that are left out in turns; it
does not use held-out files. Writes out/bench/compressor_choice.json.

`--contexts FILE.npz` measures other contexts, too: `features` [N, parts, width], each of a `scene`
[N], on left-out scenes. If HRM_ROOT is a checkout of the public original (github.com/dp-web4/HRM),
the latency of its hybrid is measured. Prints a JSON object and writes out/bench/compressor.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from context_probes import probes
from result_file import show_result, write_result
from torch import Tensor

from sage_perception.context.layout import BLOCKS
from sage_perception.models import Compressor, load, pca
from sage_perception.models.networks.h_to_l import (
    VARIANTS,
    HToLCompressor,
    HToLConfig,
    explained_variance,
)
from sage_perception.models.networks.h_to_l.initialization import init_from_contexts
from sage_perception.models.networks.h_to_l.l_module import HRMLatentBridge
from sage_perception.training.config import RunConfig, read_config
from sage_perception.training.contexts.dataset import Contexts
from sage_perception.training.contexts.plan import MONTAGES
from sage_perception.training.runs import CHECKPOINT, load_run
from sage_perception.training.tasks.h_to_l.data import ContextDataModule, to_tensors
from sage_perception.training.tasks.h_to_l.task import HToLTask, load_contexts, resolve_model
from sage_perception.training.tasks.h_to_l.tokens import loss_weights
from sage_perception.training.train import fit

BATCH = 16
FOLDS = 5
CHOICE_FOLDS = 3  # over the training sources
SHRINKAGES, ROUNDS, STEPS = (0.0, 0.5, 0.8, 0.95), (0, 1, 2, 3, 4), (125, 500)


def median_ms(call: Callable, seconds: float = 1.0) -> float:
    """Return the median time of a call, milliseconds."""
    times, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 10:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def speed(call: Callable) -> dict[str, float]:
    """Return the latency of a batch and the throughput in contexts per second."""
    took = median_ms(call)
    return {'latency_ms_b16': round(took, 3), 'per_s': round(BATCH / took * 1e3)}


def are_clips(contexts: Contexts) -> np.ndarray:
    """Return which contexts are of clips and not of montages, bool `[N]`."""
    return np.array([not name.startswith(MONTAGES) for name in contexts.sources])[contexts.source]


class HeldOut:
    """Held-out contexts: those of clips and those of montages."""

    def __init__(self, contexts: Contexts):
        self.values, self.mask = to_tensors(contexts)
        self.clips = torch.from_numpy(are_clips(contexts))

    def retained(self, reconstruction: Tensor) -> dict[str, float]:
        """Return the explained variance of both parts by a `reconstruction` `[N, 4096]`."""
        names = {'retained_r2': self.clips, 'retained_r2_images': ~self.clips}
        return {
            name: round(
                float(
                    explained_variance(reconstruction[part], self.values[part], self.mask[part])
                ),
                4,
            )
            for name, part in names.items()
        }


def fit_pca(train: Contexts) -> tuple[Tensor, Tensor]:
    """Return the mean `[4096]` of training contexts and 256 principal components `[256, 4096]`."""
    values, mask = to_tensors(train)
    mean = (values * mask).sum(0) / mask.sum(0).clamp_min(1)
    return mean, torch.from_numpy(pca.fit(((values - mean) * mask).numpy(), 256).components)


def measure_pca(train: Contexts, held_out: HeldOut) -> dict:
    """Return the figures of 256 principal components, fitted to the training contexts."""
    mean, components = fit_pca(train)
    known = (held_out.values - mean) * held_out.mask
    reconstruction = known @ components.T @ components + mean
    batch, mask = held_out.values[:BATCH], held_out.mask[:BATCH]
    return {
        'params': 2 * components.numel(),
        **held_out.retained(reconstruction),
        **speed(lambda: ((batch - mean) * mask) @ components.T),
    }


@torch.inference_mode()
def measure_variant(model: HToLCompressor, held_out: HeldOut) -> dict:
    """Return the figures of a trained compressor."""
    out = model.eval()(held_out.values, held_out.mask)
    batch, mask = held_out.values[:BATCH], held_out.mask[:BATCH]
    return {
        'params': sum(p.numel() for p in model.parameters()),
        **held_out.retained(out.reconstruction),
        'kl_per_dim': round(float(out.metrics['kl']), 3),
        **speed(lambda: model.encode(batch, mask)),
    }


def measure_shipped(shipped: Compressor, held_out: HeldOut) -> dict:
    """Return the figures of an artifact."""
    values, mask = held_out.values.numpy(), held_out.mask.numpy() > 0
    reconstruction = shipped.decompress(shipped.compress(values, mask))
    return {
        'params': shipped.parameters,
        'megabytes': round(
            sum(path.stat().st_size for path in shipped.artifact.path.iterdir()) / 1e6, 2
        ),
        **held_out.retained(torch.from_numpy(reconstruction)),
        **speed(lambda: shipped.compress(values[:BATCH], mask[:BATCH])),
    }


def measure_bridge(codes: np.ndarray) -> dict:
    """Return the share of the variance of `codes` that is lost through the bridge and back."""
    torch.manual_seed(0)
    bridge, codes = HRMLatentBridge().eval(), torch.from_numpy(codes)
    with torch.inference_mode():
        lost = bridge.cycle_loss(codes) / codes.var(0).mean()
    return {'params': sum(p.numel() for p in bridge.parameters()), 'cycle_error': float(lost)}


def left_out(contexts: Contexts) -> list[np.ndarray]:
    """Return the contexts that each fold leaves out, bool `[N]`: every third source."""
    return [contexts.source % CHOICE_FOLDS == fold for fold in range(CHOICE_FOLDS)]


def choices(config: RunConfig, train: Contexts) -> dict:
    """Return the retained R² of left-out sources for each value of a hyperparameter.

    `shrinkage` and `rounds` are measured before training, `steps` after it. Each figure is the
    mean of clips and montages over the folds.
    """
    found: dict = {}

    @torch.inference_mode()
    def note(what: str, value: float, model: HToLCompressor) -> None:
        reconstruction = model.eval()(held_out.values, held_out.mask).reconstruction
        mean = float(np.mean(list(held_out.retained(reconstruction).values())))
        found.setdefault(what, {}).setdefault(value, []).append(mean)

    for out in left_out(train):
        known, rest = train.select(~out), train.select(out)
        held_out, own = HeldOut(rest), resolve_model(config, known)
        values = to_tensors(known)
        weights = loss_weights(*values)
        for share in SHRINKAGES:
            model = HToLCompressor(own.model)
            init_from_contexts(model, *values, weights, share)
            note('shrinkage', share, model)
        for rounds in ROUNDS:
            model = HToLCompressor(replace(own.model, rounds=rounds))
            init_from_contexts(model, *values, weights)
            note('rounds', rounds, model)
        for steps in STEPS:
            training = replace(own.training, steps=steps, epoch=steps)
            with TemporaryDirectory() as folder:
                task = HToLTask(replace(own, training=training))
                data = ContextDataModule(known, rest, training)
                trained = fit(task, data, Path(folder), progress=False)
            note('steps', steps, trained.model)
    return {
        what: {value: round(float(np.mean(each)), 4) for value, each in values.items()}
        for what, values in found.items()
    }


def measure_features(path: Path) -> dict:
    """Return R² of features `[N, parts, width]` on left-out scenes: PCA, and the untrained hybrid.

    The features are too few for training: the hybrid is only initialized from them.
    """
    with np.load(path, allow_pickle=False) as file:
        features, scene = file['features'].astype(np.float32), file['scene']
    count, parts, width = features.shape
    x = torch.from_numpy(features.reshape(count, -1))
    groups = {'views': {'count': parts, 'parts': [[0, width]], 'keep': 256, 'rate': 0}}
    config = HToLConfig(groups=groups, input_dim=parts * width)
    scenes = np.unique(scene)
    left = {'pca256': 0.0, 'hybrid': 0.0}
    total = 0.0
    for fold in range(FOLDS):
        held = torch.from_numpy(np.isin(scene, scenes[fold::FOLDS]))
        fitted, rest = x[~held], x[held]
        mean = fitted.mean(0)
        _, _, rows = torch.linalg.svd(fitted - mean, full_matrices=False)
        rows = rows[:256]
        kept = {'pca256': (rest - mean) @ rows.T @ rows + mean}
        model = HToLCompressor(config).eval()
        init_from_contexts(model, fitted, torch.ones_like(fitted))
        with torch.inference_mode():
            kept['hybrid'] = model(rest, torch.ones_like(rest)).reconstruction
        for name, reconstruction in kept.items():
            left[name] += float((reconstruction - rest).square().sum())
        total += float((rest - rest.mean(0)).square().sum())
    return {'contexts': count, 'folds': FOLDS} | {
        name: round(1 - error / total, 4) for name, error in left.items()
    }


def measure_peer(root: str) -> dict:
    """Return the latency of the hybrid of the public original, untrained."""
    sys.path[:0] = [root, str(Path(root) / 'sage')]
    from compression.h_to_l_compressor import HToLCompressor as Peer

    network = Peer().eval()
    batch = torch.randn(BATCH, 4096)
    with torch.inference_mode():
        return {
            'params': sum(p.numel() for p in network.parameters()),
            **speed(lambda: network(batch)),
        }


def write(result: dict, path: Path) -> None:
    """Print a result and write it to a file."""
    show_result(result)
    write_result(path, result)


def main() -> int:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--runs', type=Path, default=Path('out/train'), help='run folders')
    parser.add_argument('--configs', type=Path, default=Path('config/train'))
    parser.add_argument(
        '--choose', action='store_true', help='measure the choices of hyperparameters instead'
    )
    parser.add_argument('--contexts', type=Path, help='measure other contexts, .npz')
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = read_config(args.configs / 'h_to_l_hybrid.yaml')
    train = load_contexts(config)
    if args.choose:
        write(choices(config, train), Path('out/bench/compressor_choice.json'))
        return 0
    held_out_contexts = load_contexts(config, held_out=True)
    held_out = HeldOut(held_out_contexts)
    items = BLOCKS['physical.items'].rows(held_out_contexts.mask)[:, :, 0].sum(1)
    root = os.environ.get('HRM_ROOT', '')
    peer = measure_peer(root) if root else None
    result: dict = {
        'contexts': {
            'train': len(train),
            'held_out_clips': int(held_out.clips.sum()),
            'held_out_images': int((~held_out.clips).sum()),
            'items_each': round(float(items.mean()), 1),
        },
    }
    result['pca256'] = measure_pca(train, held_out)
    for variant in VARIANTS:
        run = args.runs / f'h_to_l_{variant}'
        name = 'linear256' if variant == 'linear' else variant
        if not (run / CHECKPOINT).is_file():
            result[name] = None
            continue
        own = resolve_model(read_config(args.configs / f'h_to_l_{variant}.yaml'), train)
        result[name] = measure_variant(load_run(own, run, HToLCompressor), held_out)
    shipped = load('h_to_l_hybrid', backend='onnxruntime')
    result['hybrid_shipped'] = measure_shipped(shipped, held_out)
    codes = tuple(shipped.compress(c.values, c.mask) for c in (train, held_out_contexts))
    result['probes'] = probes(train, held_out_contexts, codes)
    result['bridge'] = measure_bridge(codes[1])
    if args.contexts:
        result['other_contexts'] = measure_features(args.contexts)
    if peer:
        result['peer'] = peer
    write(result, Path('out/bench/compressor.json'))
    return 0


if __name__ == '__main__':
    sys.exit(main())
