# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The trust of each hop from tokens over the puzzle to an action, beside the specified one.

The hops: fused latent → puzzle (SensorVAE) → h and l (PuzzleVAE) → l by the bridge, and → action
(EffectorVAE). After each hop the object meant is decided as that nearest to the position that the
result holds: the mark in the trust channel of the puzzle, linear readings of h and of l, the pan
and the tilt of the action. A hop keeps an item if it decides as the hop before. `value` is the
share of items that it keeps, `trust` the mean of the predicted trusts of test items, `ece` their
calibration error over five bins of equal size, and `worst_ece` the largest one of any hop and
seed. `chain` is the share of items for which the last decision is the first one, beside the
product of the hops; the part has its value. `right` is the share of right objects at the last hop.

`skip` has a path from the fused latent to h beside the puzzle, `frozen` a fusion network that is
not trained further (both §10.6 of the specification). `cycle` is the relative error of l and h
over the bridge and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from sage_perception.models import load_crop_codec
from sage_perception.models.networks.puzzle.attention import CrossModalAttention, FusionConfig
from sage_perception.puzzle.hop_trust import calibration_error, fit
from sage_perception.puzzle.space import SIDE, TRUST
from sage_perception.training.puzzle.chain import (
    LIMITS,
    Chain,
    ChainBatch,
    Steps,
    decoded_crops,
    with_puzzles,
)
from sage_perception.training.puzzle.cues import FIELD_OF_VIEW
from sage_perception.training.puzzle.examples import TRAINING, draw
from sage_perception.training.puzzle.fit import FitConfig
from sage_perception.training.puzzle.fit_chain import fit_chain, run_chain
from translation_parts.cache import cached_file, kept
from translation_parts.scenes import MODELS, scenes, sentences, trained

POOL, TEST, STEPS = 4000, 1500, 400
SPECIFIED = {'puzzle': 0.95, 'h': 0.90, 'bridge': 0.87}
HOPS = {'puzzle': 'fused', 'h': 'puzzle', 'l': 'puzzle', 'bridge': 'h', 'action': 'h'}
"""Each hop, and the hop before it."""
VARIANTS = {'default': (True, False), 'frozen': (True, True), 'no_skip': (False, False)}
"""Skip path, and whether the fusion network is frozen."""


def measure(seeds: Sequence[int]) -> dict:
    """Return the trusts of the hops, and those of the variants."""
    merged = over_seeds(seeds)
    whole = {key: merged['chain'][key] for key in ('value', 'seeds', 'baselines')}
    variants = {name: over_seeds(seeds, name) for name in VARIANTS if name != 'default'}
    return {**whole, **merged, 'variants': variants}


def over_seeds(seeds: Sequence[int], variant: str = 'default') -> dict:
    """Return the means of the figures of several seeds, and the largest calibration error."""
    rows = [figures(seed, variant) for seed in seeds]
    worst = max(row[name]['ece'] for row in rows for name in HOPS)
    return {**merge(rows), 'worst_ece': worst}


def figures(seed: int, variant: str = 'default') -> dict:
    """Return the trusts of the hops of one chain, calibrated on one half of the test items."""
    chain, pool = trained_chain(seed, variant), examples(True)
    steps = run_chain(chain, pool)
    decided = decisions(steps, pool)
    half = len(pool.where) // 2
    rows, product = {}, 1.0
    for name, before in HOPS.items():
        index, nearest, second = decided[name]
        kept = index == decided[before][0]
        model = fit(nearest[:half], second[:half], kept[:half])
        trust = model(nearest[half:], second[half:])
        error, sizes = calibration_error(trust, kept[half:])
        rows[name] = {
            'value': float(kept[half:].mean()), 'trust': float(trust.mean()), 'ece': error,
            'bins': sizes, 'baselines': {'specified': SPECIFIED.get(name)},
        }  # fmt: skip
        if name in ('puzzle', 'h', 'action'):
            product *= rows[name]['value']
    same = decided['action'][0] == decided['fused'][0]
    target = pool.batch.target.numpy()
    rows['chain'] = {
        'value': float(same[half:].mean()), 'product': product,
        'baselines': {'specified': 0.744},
        'right': {name: float((d[0] == target).mean()) for name, d in decided.items()},
    }  # fmt: skip
    rows['cycle'] = {
        'l': relative(steps.bridged_l, steps.l), 'h': relative(steps.cycle_h, steps.h),
    }  # fmt: skip
    return rows


def decisions(steps: Steps, pool: ChainBatch) -> dict[str, tuple[np.ndarray, ...]]:
    """Return the object nearest to what each hop holds, and the distances to it and the second."""
    line = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    weights = (steps.puzzle[:, TRUST] ** 4).flatten(1)
    weights = (weights / weights.sum(1, keepdim=True)).reshape(-1, SIDE, SIDE)
    marked = torch.stack(((weights.sum(1) * line).sum(1), (weights.sum(2) * line).sum(1)), 1)
    angles = steps.action[:, :2] * torch.tensor(LIMITS)
    tangents = torch.tan(torch.tensor(FIELD_OF_VIEW) / 2)
    looked = torch.tan(angles) * torch.tensor([-1.0, 1.0]) / tangents
    places = {
        'puzzle': marked, 'h': steps.where_h, 'l': steps.where_l,
        'bridge': steps.where_bridged, 'action': looked,
    }  # fmt: skip
    objects = pool.batch.objects[..., -4:-2]
    absent = pool.batch.present < 0.5
    found = {}
    for name, place in places.items():
        distance = (objects - place[:, None]).norm(dim=2).masked_fill(absent, 9.0)
        two = distance.sort(1).values
        found[name] = (distance.argmin(1).numpy(), two[:, 0].numpy(), two[:, 1].numpy())
    found['fused'] = (steps.logits.argmax(1).numpy(),)
    return found


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the mean squared error relative to the variance."""
    return float(((found - wanted) ** 2).mean() / wanted.var(0).mean())


@cache
def examples(held_out: bool) -> ChainBatch:
    """Return the examples of the training, or those of the test."""
    clean, noisy = sentences()
    there, count = scenes(held_out), TEST if held_out else POOL
    rng = np.random.default_rng(21 + held_out)
    batch = draw(there, clean, noisy, TRAINING, count, rng)
    return with_puzzles(batch, there, decoded_crops(there, load_crop_codec('tinyvae')))


@cache
def trained_chain(seed: int, variant: str = 'default') -> Chain:
    """Return the chain of a seed, trained from its fusion network."""
    skip, frozen = VARIANTS[variant]
    fusion = CrossModalAttention(FusionConfig())
    fusion.load_state_dict(trained(seed).state_dict())
    chain = Chain(fusion, skip, frozen)
    settings = FitConfig(steps=STEPS, batch=64, learning_rate=1e-3, seed=seed)
    path = cached_file(f'chain_{variant}_{seed}.pt', __name__, MODELS)
    return kept(path, chain, lambda: fit_chain(chain, examples(False), settings))


def merge(rows: Sequence[dict]) -> dict:
    """Return figures of several seeds as their means, with the values of each seed."""
    merged: dict = {}
    for name, first in rows[0].items():
        if isinstance(first, dict):
            merged[name] = merge([row[name] for row in rows])
        elif isinstance(first, float):
            merged[name] = float(np.mean([row[name] for row in rows]))
        else:
            merged[name] = first
    if 'value' in merged:
        merged['seeds'] = [row['value'] for row in rows]
    return merged
