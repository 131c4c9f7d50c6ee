# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure what compressors of H contexts retain, and what can be read from their 256 numbers.

    for v in bottleneck attention hierarchical hybrid linear; do
      sage train config/train/h_to_l_$v.yaml
    done
    python bench/compressor.py

All are trained as their configurations say, on contexts recorded from the same files, and are null
where they are not yet. They are measured on contexts from files kept apart: `retained_r2` on the
clips among them, `retained_r2_images` on scenes made of images. The variance is about each
number's mean over these contexts. `h_to_l_hybrid` is also measured as it ships, on ONNX Runtime.

Probes are read from contexts and from codes by the same kinds of read-out, fitted to training
contexts: ridge regressions, and `LModule` for the task, to point a camera at where the most
salient thing will be in half a second. `identity` is the share of contexts in which a classifier
that has seen half of a held-out run's contexts knows which thing leads in the others. `bridge` is
how much of held-out codes is lost on the way through `HRMLatentBridge` and back.

`--choose` measures instead what was chosen: the share of shrinkage, rounds of inference and the
steps of training of the hybrid, on sources of the training contexts that are left out by turns.
What is kept apart is not looked at. Writes out/bench/compressor_choice.json.

`--contexts FILE.npz` measures other contexts: `features` [N, parts, width], each of a `scene` [N],
on scenes kept apart. With HRM_ROOT set to a checkout of the public original
(github.com/dp-web4/HRM) the speed of its hybrid is measured too. Prints one JSON object and writes
out/bench/compressor.json.
"""

from __future__ import annotations

import argparse
import json
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
from sage_perception.models.networks.h_to_l.l_module import PAN_TILT, HRMLatentBridge, LModule
from sage_perception.training.config import RunConfig, read_config
from sage_perception.training.contexts.dataset import Contexts
from sage_perception.training.contexts.plan import MONTAGES
from sage_perception.training.runs import CHECKPOINT, load_run
from sage_perception.training.tasks.h_to_l.data import ContextDataModule, to_tensors
from sage_perception.training.tasks.h_to_l.task import HToLTask, load_contexts, resolve_model
from sage_perception.training.tasks.h_to_l.tokens import LEADING, loss_weights
from sage_perception.training.train import fit

BATCH = 16
LEADERS = LEADING  # things whose salience and geometry are read
RIDGES = (1e0, 1e1, 1e2, 1e3, 1e4, 1e5)  # tried on part of the training runs
LEAST_SPREAD = 0.1  # added to deviations: what hardly varied in training is not blown up
HEAD_STEPS = 400
FOLDS = 5
CHOICES = 3  # folds over training sources, by which is chosen
SHRINKAGES, ROUNDS, STEPS = (0.0, 0.5, 0.8, 0.95), (0, 1, 2, 3, 4), (125, 500)
HITS = 0.15  # half frames: how near the camera is to point


def median_ms(call: Callable, seconds: float = 1.0) -> float:
    """Return the median time of a call, milliseconds."""
    times, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 10:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def speed(call: Callable) -> dict[str, float]:
    """Return the latency of a batch and how many contexts a second that makes."""
    took = median_ms(call)
    return {'latency_ms_b16': round(took, 3), 'per_s': round(BATCH / took * 1e3)}


def clips_among(contexts: Contexts) -> np.ndarray:
    """Return which contexts are of clips, bool `[N]`, and not of scenes made of images."""
    return np.array([not name.startswith(MONTAGES) for name in contexts.sources])[contexts.source]


class Measured:
    """Held-out contexts in two parts, and what is retained of them."""

    def __init__(self, apart: Contexts):
        self.values, self.mask = to_tensors(apart)
        self.clips = torch.from_numpy(clips_among(apart))

    def retained(self, kept: Tensor) -> dict[str, float]:
        """Return the explained variance of both parts by a reconstruction `[N, 4096]`."""
        names = {'retained_r2': self.clips, 'retained_r2_images': ~self.clips}
        return {
            name: round(
                float(explained_variance(kept[part], self.values[part], self.mask[part])), 4
            )
            for name, part in names.items()
        }


def fit_pca(seen: Contexts) -> tuple[Tensor, Tensor]:
    """Return the mean `[4096]` of training contexts and 256 principal components `[256, 4096]`."""
    values, mask = to_tensors(seen)
    mean = (values * mask).sum(0) / mask.sum(0).clamp_min(1)
    return mean, torch.from_numpy(pca.fit(((values - mean) * mask).numpy(), 256).components)


def measure_pca(seen: Contexts, apart: Measured) -> dict:
    """Return the figures of 256 principal components, fitted to the training contexts."""
    mean, components = fit_pca(seen)
    kept = ((apart.values - mean) * apart.mask) @ components.T @ components + mean
    batch, known = apart.values[:BATCH], apart.mask[:BATCH]
    return {
        'params': 2 * components.numel(),
        **apart.retained(kept),
        **speed(lambda: ((batch - mean) * known) @ components.T),
    }


@torch.inference_mode()
def measure_variant(model: HToLCompressor, apart: Measured) -> dict:
    """Return the figures of a trained compressor."""
    out = model.eval()(apart.values, apart.mask)
    batch, known = apart.values[:BATCH], apart.mask[:BATCH]
    return {
        'params': sum(p.numel() for p in model.parameters()),
        **apart.retained(out.reconstruction),
        'kl_per_dim': round(float(out.metrics['kl']), 3),
        **speed(lambda: model.encode(batch, known)),
    }


def measure_shipped(shipped: Compressor, apart: Measured) -> dict:
    """Return the figures of an artifact."""
    values, mask = apart.values.numpy(), apart.mask.numpy() > 0
    kept = shipped.decompress(shipped.compress(values, mask))
    return {
        'params': shipped.parameters,
        'megabytes': round(
            sum(path.stat().st_size for path in shipped.artifact.path.iterdir()) / 1e6, 2
        ),
        **apart.retained(torch.from_numpy(kept)),
        **speed(lambda: shipped.compress(values[:BATCH], mask[:BATCH])),
    }


def targets(contexts: Contexts) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return what is to be read, by probe: numbers `[N, K]` and which of them are known."""
    columns = {
        'saliency': ('logical.items', ('salience',)),
        'geometry': ('physical.items', ('x', 'y', 'width', 'height')),
        'motion': ('physical.items', ('velocity_x', 'velocity_y')),
        'trust': ('logical.items', ('telemetry_trust', 'error')),
    }
    found = {}
    for name, (block, fields) in columns.items():
        where = BLOCKS[block]
        chosen = [where.fields.index(field) for field in fields]
        parts = [
            where.rows(numbers)[:, :LEADERS][..., chosen].reshape(len(contexts), -1)
            for numbers in (contexts.values, contexts.mask)
        ]
        found[name] = tuple(parts)
    return found


def r2(told: np.ndarray, true: np.ndarray, known: np.ndarray) -> float:
    """Return the explained variance of what is known."""
    tensors = (torch.from_numpy(x.astype(np.float32)) for x in (told, true, known))
    return float(explained_variance(*tensors))


class Ridge:
    """Ridge regressions from standardized features `[N, D]`, of contexts of `run` `[N]`."""

    def __init__(self, x: np.ndarray, run: np.ndarray):
        self.told = x.std(0) > 1e-4  # the rest says nothing in training
        self.mean, self.std = x.mean(0)[self.told], x.std(0)[self.told] + LEAST_SPREAD
        self.x = self.standard(x)
        self.held = torch.from_numpy(np.isin(run, np.unique(run)[::5]))
        self.ways = {'part': self.x[~self.held], 'all': self.x}
        self.grams = {name: (rows.T @ rows).double() for name, rows in self.ways.items()}
        self.factors: dict[tuple[str, float], Tensor] = {}

    def standard(self, x: np.ndarray) -> Tensor:
        """Return features `[M, D]` as the regressions read them."""
        return torch.from_numpy(((x[:, self.told] - self.mean) / self.std).astype(np.float32))

    def weights(self, way: str, penalty: float, y: Tensor) -> Tensor:
        """Return the weights `[D', K]` for targets `y` of the rows of a way."""
        if (way, penalty) not in self.factors:
            gram = self.grams[way]
            self.factors[way, penalty] = torch.linalg.cholesky(
                gram + penalty * torch.eye(len(gram), dtype=gram.dtype)
            )
        target = (self.ways[way].T @ y).double()
        return torch.cholesky_solve(target, self.factors[way, penalty]).float()

    def fit(self, y: np.ndarray, known: np.ndarray, way: str = 'all') -> tuple[Tensor, Tensor]:
        """Return weights `[D', K]` for `y` `[N, K]` and its mean `[K]`.

        The penalty is the one that does best on the runs left out of 'part'.
        """
        y, known = torch.from_numpy(y.astype(np.float32)), torch.from_numpy(known).float()
        mean = (y * known).sum(0) / known.sum(0).clamp_min(1)
        apart = (y - mean) * known
        targets = {'part': apart[~self.held], 'all': apart}
        scores = [
            explained_variance(
                self.x[self.held] @ self.weights('part', penalty, targets['part']),
                apart[self.held],
                known[self.held],
            )
            for penalty in RIDGES
        ]
        best = RIDGES[int(torch.stack(scores).argmax())]
        return self.weights(way, best, targets[way]), mean

    def read(self, y: np.ndarray, known: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return what is told of features `x` `[M, D]` when fitted to `y` `[N, K]`."""
        weights, mean = self.fit(y, known)
        return (self.standard(x) @ weights + mean).numpy()


def train_head(ridge: Ridge, y: np.ndarray) -> LModule:
    """Return an `LModule` that has learnt pan and tilt `y` `[N, 2]` from the features of `ridge`.

    Its linear way starts as that regression. It is the one of its training that did best on runs
    left out.
    """
    torch.manual_seed(0)
    wanted = torch.from_numpy(y.astype(np.float32))
    head = LModule(ridge.x.shape[1])
    weights, mean = ridge.fit(y, np.ones_like(y, bool), 'part')
    with torch.no_grad():
        head.direct.weight[PAN_TILT], head.direct.bias[PAN_TILT] = weights.T, mean
    optimizer = torch.optim.AdamW(head.parameters(), 3e-4, weight_decay=0.1)
    best, kept = np.inf, {}
    rows = torch.nonzero(~ridge.held)[:, 0]
    for step in range(HEAD_STEPS + 1):
        if not step % 20:
            with torch.inference_mode():
                told = head(ridge.x[ridge.held])[:, PAN_TILT]
            error = float((told - wanted[ridge.held]).square().mean())
            if error < best:
                best, kept = error, {k: v.clone() for k, v in head.state_dict().items()}
        chosen = rows[torch.randint(len(rows), (256,))]
        loss = (head(ridge.x[chosen])[:, PAN_TILT] - wanted[chosen]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    head.load_state_dict(kept)
    return head


def identity(features: np.ndarray, contexts: Contexts) -> tuple[float, int]:
    """Return how often the leading thing of held-out runs is known again, and how many cases.

    In each run every other context teaches, linear discriminants with a common, shrunk covariance;
    the rest ask. Things that lead in fewer than six contexts are left out.
    """
    right = asked = 0
    for run in np.unique(contexts.run):
        rows = np.flatnonzero(contexts.run == run)
        who = np.where(contexts.label[rows] >= 0, contexts.label[rows], -1 - contexts.track[rows])
        names, counts = np.unique(who, return_counts=True)
        rows = rows[np.isin(who, names[counts >= 6])]
        who = who[np.isin(who, names[counts >= 6])]
        if len(np.unique(who)) < 2:
            continue
        order = np.random.default_rng(int(run)).permutation(len(rows))
        taught, tested = order[::2], order[1::2]
        x = features[rows] - features[rows[taught]].mean(0)
        classes = list(np.unique(who[taught]))
        means = np.stack([x[taught][who[taught] == c].mean(0) for c in classes])
        within = x[taught] - means[np.searchsorted(classes, who[taught])]
        # In the span of the samples, where 4096 numbers are no more than these.
        _, spread, basis = np.linalg.svd(within, full_matrices=False)
        variance = spread**2 / len(within)
        floor = 0.3 * np.square(within).sum() / within.size + 1e-9
        shrink = 1 / np.sqrt(0.7 * variance + floor) - 1 / np.sqrt(floor)

        def white(a, basis=basis, shrink=shrink, floor=floor):
            return a / np.sqrt(floor) + (a @ basis.T * shrink) @ basis

        gaps = np.square(white(x[tested])[:, None] - white(means)[None]).sum(2)
        right += int((np.array(classes)[gaps.argmin(1)] == who[tested]).sum())
        asked += len(tested)
    return right / max(asked, 1), asked


def probes(seen: Contexts, apart: Contexts, codes: tuple[np.ndarray, np.ndarray]) -> dict:
    """Return what is read from contexts and from codes, of (training, held-out) contexts."""
    given = {'from_4096': (seen.values, apart.values), 'from_256': codes}
    result: dict[str, dict] = {}
    wanted, true = targets(seen), targets(apart)
    ahead = [np.isfinite(c.later).all(1) for c in (seen, apart)]
    for name, (x, x_apart) in given.items():
        ridge = Ridge(x, seen.run)
        for probe, (y, known) in wanted.items():
            told = ridge.read(y, known, x_apart)
            result.setdefault(probe, {})[name] = round(r2(told, *true[probe]), 4)
        who, cases = identity(x_apart, apart)
        result.setdefault('identity', {'cases': cases})[name] = round(who, 4)
        sight = Ridge(x[ahead[0]], seen.run[ahead[0]])
        head = train_head(sight, seen.later[ahead[0]])
        with torch.inference_mode():
            told = head(sight.standard(x_apart[ahead[1]]))[:, PAN_TILT].numpy()
        goal = apart.later[ahead[1]]
        result.setdefault('pan_tilt', {})[name] = round(r2(told, goal, np.ones_like(goal)), 4)
        near = np.linalg.norm(told - goal, axis=1) < HITS
        result.setdefault('pan_tilt_hits', {})[name] = round(float(near.mean()), 4)
    for figures in result.values():
        figures['ratio'] = round(figures['from_256'] / figures['from_4096'], 4)
    return result


def measure_bridge(codes: np.ndarray) -> dict:
    """Return the share of held-out codes' variance that is lost through the bridge and back."""
    torch.manual_seed(0)
    bridge, codes = HRMLatentBridge().eval(), torch.from_numpy(codes)
    with torch.inference_mode():
        lost = bridge.cycle_loss(codes) / codes.var(0).mean()
    return {'params': sum(p.numel() for p in bridge.parameters()), 'cycle_error': float(lost)}


def left_out(contexts: Contexts) -> list[np.ndarray]:
    """Return for each fold which contexts are left out, bool `[N]`: every third source."""
    return [contexts.source % CHOICES == fold for fold in range(CHOICES)]


def choices(config: RunConfig, seen: Contexts) -> dict:
    """Return what of left out sources is retained by the hybrid, by what is to be chosen.

    `shrinkage` and `rounds` are of the start, `steps` of training from there. The mean of clips
    and of scenes made of images, over the folds.
    """
    told: dict = {}

    @torch.inference_mode()
    def note(what: str, value: float, model: HToLCompressor) -> None:
        kept = model.eval()(apart.values, apart.mask).reconstruction
        mean = float(np.mean(list(apart.retained(kept).values())))
        told.setdefault(what, {}).setdefault(value, []).append(mean)

    for out in left_out(seen):
        known, rest = seen.select(~out), seen.select(out)
        apart, own = Measured(rest), resolve_model(config, known)
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
        what: {value: round(float(np.mean(each)), 4) for value, each in found.items()}
        for what, found in told.items()
    }


def measure_features(path: Path) -> dict:
    """Return R² on scenes kept apart of features `[N, parts, width]`: PCA, and our hybrid's start.

    There are too few of them to train on: the hybrid is what `init_from_contexts` makes of them.
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
        fitted, apart = x[~held], x[held]
        mean = fitted.mean(0)
        _, _, rows = torch.linalg.svd(fitted - mean, full_matrices=False)
        rows = rows[:256]
        kept = {'pca256': (apart - mean) @ rows.T @ rows + mean}
        model = HToLCompressor(config).eval()
        init_from_contexts(model, fitted, torch.ones_like(fitted))
        with torch.inference_mode():
            kept['hybrid'] = model(apart, torch.ones_like(apart)).reconstruction
        for name, told in kept.items():
            left[name] += float((told - apart).square().sum())
        total += float((apart - apart.mean(0)).square().sum())
    return {'contexts': count, 'folds': FOLDS} | {
        name: round(1 - error / total, 4) for name, error in left.items()
    }


def measure_peer(root: str) -> dict:
    """Return the figures of the public original's hybrid, untrained."""
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
    """Print figures and write them to a file."""
    print(json.dumps(result, indent=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + '\n')


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--runs', type=Path, default=Path('out/train'), help='run folders')
    parser.add_argument('--configs', type=Path, default=Path('config/train'))
    parser.add_argument('--choose', action='store_true', help='measure what was chosen instead')
    parser.add_argument('--contexts', type=Path, help='other contexts, .npz')
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = read_config(args.configs / 'h_to_l_hybrid.yaml')
    seen = load_contexts(config)
    if args.choose:
        write(choices(config, seen), Path('out/bench/compressor_choice.json'))
        return 0
    kept_apart = load_contexts(config, held_out=True)
    apart = Measured(kept_apart)
    things = BLOCKS['physical.items'].rows(kept_apart.mask)[:, :, 0].sum(1)
    root = os.environ.get('HRM_ROOT', '')
    peer = measure_peer(root) if root else None
    result: dict = {
        'contexts': {
            'train': len(seen),
            'held_out_clips': int(apart.clips.sum()),
            'held_out_images': int((~apart.clips).sum()),
            'things_each': round(float(things.mean()), 1),
        },
    }
    result['pca256'] = measure_pca(seen, apart)
    for variant in VARIANTS:
        run = args.runs / f'h_to_l_{variant}'
        name = 'linear256' if variant == 'linear' else variant
        if not (run / CHECKPOINT).is_file():
            result[name] = None
            continue
        own = resolve_model(read_config(args.configs / f'h_to_l_{variant}.yaml'), seen)
        result[name] = measure_variant(load_run(own, run), apart)
    shipped = load('h_to_l_hybrid', backend='onnxruntime')
    result['hybrid_shipped'] = measure_shipped(shipped, apart)
    codes = tuple(shipped.compress(c.values, c.mask) for c in (seen, kept_apart))
    result['probes'] = probes(seen, kept_apart, codes)
    result['bridge'] = measure_bridge(codes[1])
    if args.contexts:
        result['other_contexts'] = measure_features(args.contexts)
    if peer:
        result['peer'] = peer
    write(result, Path('out/bench/compressor.json'))
    return 0


if __name__ == '__main__':
    sys.exit(main())
