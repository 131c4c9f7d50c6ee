# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Learned halting against the slope rule, at equal quality, on control and on vision.

Refinements run to their end first, without halting; both rules are then applied to the recorded
energies. `remaining` is the energy that halting leaves above the lowest one, relative to the
first. The learned rule is fitted to one half of the items and applied to the other. `value` is
the mean number of steps of the learned rule at the remaining energy of the slope rule with its
default tolerance, `baselines.slope` the number of steps of the slope rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sage_perception.irp.control import ControlIRP, Reaches
from sage_perception.irp.discovery import load
from sage_perception.irp.halting import Halting
from sage_perception.irp.plugin import IRPPlugin
from sage_perception.irp.tinyvae import Crops
from sage_perception.training.puzzle.scenes import cut_crops, render_scene
from translation_parts import learned_halting
from translation_parts.learned_halting import LearnedHalting

ITEMS, CROPS, STEPS = 200, 36, 40
HOME = np.array([0.0, 0.0, 0.0, -1.4, 0.0, 1.0, 0.0])
MIN_GAINS = np.logspace(-6, -1, 61)


def measure(seeds: Sequence[int]) -> dict:
    """Return the steps of both rules for control and vision."""
    return {
        'control': merged([compare(control(seed), seed) for seed in seeds]),
        'vision': merged([compare(vision(seed), seed) for seed in seeds[:1]]),
    }


def compare(energies: list[list[float]], seed: int) -> dict[str, float]:
    """Return steps and remaining energy of both rules on the second half of the items."""
    order = np.random.default_rng(seed).permutation(len(energies))
    half = len(order) // 2
    fitted = LearnedHalting(coefficients=learned_halting.fit([energies[i] for i in order[:half]]))
    test = [energies[i] for i in order[half:]]
    steps, remaining = apply(Halting(), test)
    curve = [apply(replace(fitted, min_gain=float(gain)), test) for gain in MIN_GAINS]
    enough = [count for count, left in curve if left <= max(remaining, 1e-9)]
    return {'slope': steps, 'learned': min(enough, default=float(STEPS)), 'remaining': remaining}


def apply(rule: Halting, energies: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the mean number of steps until a rule halts, and the mean remaining energy."""
    counts, left = [], []
    for each in energies:
        stop = next((n for n in range(1, len(each) + 1) if rule(each[:n])), len(each))
        counts.append(stop)
        left.append((min(each[:stop]) - min(each)) / max(abs(each[0]), 1e-300))
    return float(np.mean(counts)), float(np.mean(left))


def control(seed: int) -> list[list[float]]:
    """Return the energies of random reaches."""
    rng = np.random.default_rng(seed)
    targets = rng.uniform((0.3, -0.5, 0.05), (0.75, 0.5, 0.7), (ITEMS, 3))
    plugin = ControlIRP(tolerance_m=0.0)
    return energies_of(plugin, Reaches(targets, HOME + rng.normal(0, 0.5, (ITEMS, 7))))


def vision(seed: int) -> list[list[float]]:
    """Return the energies of the refinement of latents of rendered crops."""
    rng = np.random.default_rng(seed)
    crops = []
    while len(crops) < CROPS:
        image, boxes, _ = render_scene(rng)
        crops += list(cut_crops(image, boxes, 64))
    x = np.stack(crops[:CROPS]).transpose(0, 3, 1, 2).astype(np.float32) / 255
    return energies_of(load('tinyvae'), Crops(x))


def energies_of(plugin: IRPPlugin, inputs: object) -> list[list[float]]:
    """Return the energies of all items over `STEPS` steps, without halting."""
    plugin.halting = Never()
    plugin.max_iterations = STEPS
    _, telemetry = plugin.refine(inputs)
    return [list(each.energy_trajectory) for each in telemetry]


class Never(Halting):
    """A rule that does not halt."""

    def __call__(self, energies: Sequence[float]) -> None:
        """Return None."""


def merged(rows: Sequence[dict[str, float]]) -> dict:
    """Return the figures of several seeds."""
    learned = [row['learned'] for row in rows]
    return {
        'value': float(np.mean(learned)), 'seeds': learned,
        'baselines': {'slope': float(np.mean([row['slope'] for row in rows]))},
        'remaining': float(np.mean([row['remaining'] for row in rows])),
    }  # fmt: skip
