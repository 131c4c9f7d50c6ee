# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compare optimizers for the refinement of latents by their number of gradients (bench/irp.py)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.optimize import minimize

from sage_perception.core.metrics import psnr_from_mse
from sage_perception.irp import Refinement
from sage_perception.irp.halting import Halting
from sage_perception.irp.tinyvae import MOMENTUM, STEP_SIZE, Crops, TinyVAEIRP
from sage_perception.models.energy import ReconstructionEnergy

GRADIENTS = (1, 2, 4, 6, 8, 12, 16, 24)

# Returns the energy [1] and the gradient [1, D] of latents [1, D].
Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Optimizer = Callable[[Evaluate, np.ndarray], None]


class ThoroughIRP(TinyVAEIRP):
    """`TinyVAEIRP` that converges to a relative tolerance of 10⁻⁶."""

    halting = Halting(tolerance=1e-6)


def mean_gain(before: np.ndarray, after: np.ndarray) -> float:
    """Return the mean gain in PSNR from mean squared errors before and after, dB."""
    return round(float(np.mean(psnr_from_mse(after) - psnr_from_mse(before))), 4)


def adam(
    evaluate: Evaluate, z: np.ndarray, rate: float, decay: tuple[float, float] = (0.9, 0.999)
) -> None:
    """Run Adam (Kingma and Ba, 2015)."""
    first, second = np.zeros_like(z), np.zeros_like(z)
    for i in range(1, max(GRADIENTS) + 1):
        _, gradient = evaluate(z)
        first = decay[0] * first + (1 - decay[0]) * gradient
        second = decay[1] * second + (1 - decay[1]) * gradient**2
        slope = first / (1 - decay[0] ** i)
        z = z - rate * slope / (np.sqrt(second / (1 - decay[1] ** i)) + 1e-12)


def gradient_descent(
    evaluate: Evaluate, z: np.ndarray, metric: np.ndarray, momentum: float
) -> None:
    """Run preconditioned gradient descent with Polyak momentum, without restarts."""
    velocity = np.zeros_like(z)
    for _ in range(max(GRADIENTS)):
        _, gradient = evaluate(z)
        velocity = momentum * velocity - STEP_SIZE * gradient @ metric
        z = z + velocity


def lbfgs(evaluate: Evaluate, z: np.ndarray) -> None:
    """Run L-BFGS (Liu and Nocedal, 1989) in the implementation L-BFGS-B of SciPy."""

    def scaled(flat: np.ndarray) -> tuple[float, np.ndarray]:
        energy, gradient = evaluate(flat[None].astype(np.float32))
        return float(energy[0]) * 1e3, gradient[0].astype(float) * 1e3

    minimize(scaled, z[0].astype(float), jac=True, method='L-BFGS-B')


def compare_optimizers(
    plugin: ThoroughIRP, x: np.ndarray, guess: np.ndarray
) -> dict[str, dict[int, float]]:
    """Return the mean gain in PSNR of each optimizer by its number of gradients."""
    energy = plugin.reconstruction_energy
    identity = np.eye(guess.shape[1], dtype=np.float32)
    unconditioned = identity * np.trace(energy.metric) / guess.shape[1]
    optimizers: dict[str, Optimizer] = {
        'metric, momentum 0.5': partial(gradient_descent, metric=energy.metric, momentum=MOMENTUM),
        'metric, momentum 0': partial(gradient_descent, metric=energy.metric, momentum=0.0),
        'no metric, momentum 0.5': partial(
            gradient_descent, metric=unconditioned, momentum=MOMENTUM
        ),
        'Adam 0.06': partial(adam, rate=0.06),
        'Adam 0.03': partial(adam, rate=0.03),
        'L-BFGS': lbfgs,
    }
    run = Refinement(plugin, Crops(x, guess=guess))
    run.run(np.full(len(x), np.inf))
    energies = {'as it is': run.energies}
    for name, optimizer in optimizers.items():
        energies[name] = [
            evaluated_energies(energy, x[i : i + 1], guess[i : i + 1], optimizer)
            for i in range(len(x))
        ]
    return {name: gain_by_gradients(each) for name, each in energies.items()}


def evaluated_energies(
    energy_of: ReconstructionEnergy, x: np.ndarray, guess: np.ndarray, optimizer: Optimizer
) -> list[float]:
    """Return the energies of one crop at all latents that an optimizer evaluates."""
    energies = []

    def evaluate(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        energy, gradient = energy_of(z, x)
        energies.append(float(energy[0]))
        return energy, gradient

    optimizer(evaluate, guess)
    return energies


def gain_by_gradients(energies: list[list[float]]) -> dict[int, float]:
    """Return the mean gain in PSNR over crops by the number of gradients, dB."""
    best = [np.minimum.accumulate(each) for each in energies]
    first = np.array([each[0] for each in best])
    return {
        n: mean_gain(first, np.array([each[min(n, len(each)) - 1] for each in best]))
        for n in GRADIENTS
    }
