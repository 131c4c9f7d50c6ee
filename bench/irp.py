# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure what refinement gains, what it costs, and whether its budget is conserved.

`python bench/irp.py [MODEL] [--decoder MODEL] --data DIR [--held-out CONFIG] [--crops N]
[--schedules N] [--plot FILE]` draws the crops that `sage eval` draws, from files that no training
saw. PSNR is the mean over crops, gained over the encoder's guess; milliseconds are of the CPU, of
one thread, and the encoder's own are not among them. Writes out/bench/irp.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from PIL import Image
from scipy.optimize import minimize

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.evaluation.baselines import read_components
from sage_perception.irp import IRPPlugin, Orchestrator, Refinement, Work
from sage_perception.irp.adaptive import AdaptiveVAE
from sage_perception.irp.halting import Halting
from sage_perception.irp.tinyvae import Crops, TinyVAEIRP
from sage_perception.models import Codec, ModelError
from sage_perception.models.energy import ReconstructionEnergy
from sage_perception.training.config import ConfigError, read_config
from sage_perception.training.data.crops import CropConfig
from sage_perception.training.data.files import file_filter
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture, crop_sources

BUDGETS_MS = (5, 10, 20, 50, 100)
BATCH = 16
LOOKS = (1, 2, 4, 6, 8, 12, 16, 24)  # gradients
OUT = Path('out/bench/irp.json')


def psnr(energy: np.ndarray) -> np.ndarray:
    """Return PSNR in dB of mean squared errors."""
    return -10 * np.log10(energy)


def mean_psnr(energy: np.ndarray) -> float:
    """Return the mean PSNR in dB of mean squared errors."""
    return round(float(psnr(energy).mean()), 3)


def of_components(codec: Codec, kinds: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the PSNR in dB of as many principal components by kind of crops."""
    components = read_components(codec)
    return {
        kind: mean_psnr(np.square(components.reconstruct(x, codec.latent_dim) - x).mean((1, 2, 3)))
        for kind, x in kinds.items()
    }


def mean_gain(before: np.ndarray, after: np.ndarray) -> float:
    """Return the mean PSNR gained, dB."""
    return round(float(np.mean(psnr(after) - psnr(before))), 4)


# Quality


def refined(plugin: TinyVAEIRP, x: np.ndarray, guess: np.ndarray, ms: float, batch: int):
    """Return energies [N], latents [N, D] and ms spent [N] of crops with `ms` each, in batches.

    Of crops that no budget sufficed for they are those of the guess.
    """
    energy, latents, spent = psnr_base(plugin, x, guess), guess.copy(), np.zeros(len(x))
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        run = Refinement(plugin, Crops(x[part], guess=guess[part]), time.thread_time)
        run.run(np.full(len(run), ms / 1e3))
        for i in np.flatnonzero(np.isfinite(run.best)):
            energy[start + i], latents[start + i] = run.best[i], run.outputs[i]
        spent[part] = run.spent_s * 1e3
    return energy, latents, spent


def psnr_base(plugin: TinyVAEIRP, x: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Return the energies [N] of the encoder's guess."""
    return np.concatenate(
        [
            plugin.energy(plugin.init_state(Crops(x[i : i + BATCH], guess=guess[i : i + BATCH])))
            for i in range(0, len(x), BATCH)
        ]
    )


def quality(plugin: TinyVAEIRP, kinds: dict[str, np.ndarray]) -> dict:
    """Return the curves of PSNR gained over milliseconds, of crops alone and together."""
    x = np.concatenate(list(kinds.values()))
    guess = plugin.codec.encode(x)
    of_kind = np.repeat(list(kinds), [len(part) for part in kinds.values()])
    base = psnr_base(plugin, x, guess)
    result = {
        'psnr': mean_psnr(base),
        'psnr_of_kinds': {kind: mean_psnr(base[of_kind == kind]) for kind in kinds},
    }
    for name, batch in (('', 1), ('_batched', BATCH)):
        refined(plugin, x[: 2 * batch], guess[: 2 * batch], 100, batch)  # what is done once
        curve, per_kind, spent = {}, {kind: {} for kind in kinds}, {}
        for ms in BUDGETS_MS:
            energy, latents, took = refined(plugin, x, guess, ms, batch)
            curve[ms] = mean_gain(base, energy)
            spent[ms] = round(float(took.mean()), 2)
            for kind in kinds:
                of = of_kind == kind
                per_kind[kind][ms] = mean_gain(base[of], energy[of])
        result[f'psnr_gain_by_ms{name}'] = curve
        result[f'ms_spent_by_ms{name}'] = spent
        result[f'psnr_gain_by_ms_of_kinds{name}'] = per_kind
        result[f'step_ms{name}'] = round(plugin.cost.per_item(batch) * 1e3, 2)
    codec = plugin.codec
    for name, z in (('guess', guess), ('refined', latents)):
        stray = (z - codec.latent_mean) / codec.latent_std
        result[f'rms_deviations_{name}'] = round(float(np.sqrt(np.square(stray).mean())), 3)
        result[f'largest_deviation_{name}'] = round(float(np.abs(stray).max()), 2)
    result['psnr_gain_on_wire'] = on_wire(plugin, x, guess, latents)
    return result


def on_wire(plugin: TinyVAEIRP, x: np.ndarray, guess: np.ndarray, latents: np.ndarray) -> dict:
    """Return what is left of the gain when both travel in a wire form."""
    packer = Packer.of(plugin.codec)
    left = {}
    for form in (Encoding.FLOAT16, Encoding.INT8, Encoding.ENTROPY_INT8):
        arrived = [
            np.stack([packer.unpack(packer.pack(each, form), form) for each in z])
            for z in (guess, latents)
        ]
        left[form.name.lower()] = mean_gain(*(psnr_base(plugin, x, z) for z in arrived))
    return left


# Other ways down


def adam(look: Callable, z: np.ndarray, rate: float, decay=(0.9, 0.999)) -> None:
    """Descend as Kingma and Ba do (2015)."""
    first = second = 0.0
    for i in range(1, max(LOOKS) + 1):
        gradient = look(z)[1]
        first = decay[0] * first + (1 - decay[0]) * gradient
        second = decay[1] * second + (1 - decay[1]) * gradient**2
        slope = first / (1 - decay[0] ** i)
        z = z - rate * slope / (np.sqrt(second / (1 - decay[1] ** i)) + 1e-12)


def gradient_descent(look: Callable, z: np.ndarray, metric: np.ndarray, rate, momentum) -> None:
    """Descend with Polyak's momentum in a metric, with no step ever taken back."""
    velocity = 0.0
    for _ in range(max(LOOKS)):
        velocity = momentum * velocity - rate * look(z)[1] @ metric
        z = z + velocity


def lbfgs(look: Callable, z: np.ndarray) -> None:
    """Descend as Liu and Nocedal do (1989), in SciPy's L-BFGS-B."""

    def scaled(flat):
        energy, gradient = look(flat[None].astype(np.float32))
        return float(energy[0]) * 1e3, gradient[0].astype(float) * 1e3

    minimize(scaled, z[0].astype(float), jac=True, method='L-BFGS-B')


def optimizers(plugin: Thorough, x: np.ndarray, guess: np.ndarray) -> dict:
    """Return what each way down gains by so many gradients."""
    energy_of = plugin.reconstruction_energy
    plain = np.eye(guess.shape[1], dtype=np.float32) * np.trace(energy_of.metric) / guess.shape[1]
    ways = {
        'metric, momentum 0.5': lambda look, z: gradient_descent(
            look, z, energy_of.metric, 0.3, 0.5
        ),
        'metric, momentum 0': lambda look, z: gradient_descent(
            look, z, energy_of.metric, 0.3, 0.0
        ),
        'no metric, momentum 0.5': lambda look, z: gradient_descent(look, z, plain, 0.3, 0.5),
        'Adam 0.06': lambda look, z: adam(look, z, 0.06),
        'Adam 0.03': lambda look, z: adam(look, z, 0.03),
        'L-BFGS': lbfgs,
    }
    run = Refinement(plugin, Crops(x, guess=guess))
    run.run(np.full(len(x), np.inf))
    seen = {'as it is': run.energies}
    for name, way in ways.items():
        seen[name] = [
            energies_of(energy_of, x[i : i + 1], guess[i : i + 1], way) for i in range(len(x))
        ]
    return {name: by_gradients(each) for name, each in seen.items()}


def by_gradients(energies: list[list[float]]) -> dict[int, float]:
    """Return what is gained after so many gradients, mean over crops."""
    best = [np.minimum.accumulate(each) for each in energies]
    first = np.array([each[0] for each in best])
    return {
        n: mean_gain(first, np.array([each[min(n, len(each)) - 1] for each in best]))
        for n in LOOKS
    }


class Thorough(TinyVAEIRP):
    """`TinyVAEIRP` that goes to the very bottom."""

    halting = Halting(tolerance=1e-6)


def energies_of(
    energy_of: ReconstructionEnergy, x: np.ndarray, guess: np.ndarray, way
) -> list[float]:
    """Return the energies [gradients] of one crop that a way down went through."""
    seen = []

    def look(z):
        energy, gradient = energy_of(z, x)
        seen.append(float(energy[0]))
        return energy, gradient

    way(look, guess)
    return seen


def deepest(plugin: Thorough, x: np.ndarray, guess: np.ndarray, starts: int = 2) -> dict:
    """Return what a thorough search gains from the guess, and from other starts besides."""
    rng = np.random.default_rng(0)
    base = psnr_base(plugin, x, guess)
    best, gains = base, []
    for number in range(1 + starts):
        away = 0.4 * number * plugin.codec.latent_std * rng.standard_normal(guess.shape)
        start = (guess + away).astype(np.float32)
        run = Refinement(plugin, Crops(x, guess=start))
        run.run(np.full(len(x), np.inf))
        best = np.minimum(best, run.best)
        gains.append(mean_gain(base, best))
    return {'from_the_guess': gains[0], f'from_{starts}_other_starts_too': gains[-1]}


def scene(adaptive: AdaptiveVAE, x: np.ndarray) -> dict:
    """Return iterations a crop of a first frame, of the same with sensor noise, and of another."""
    rng = np.random.default_rng(0)
    noisy = (x + rng.normal(0, 2 / 255, x.shape)).clip(0, 1).astype(np.float32)
    blend = (0.9 * x + 0.1 * x[::-1]).astype(np.float32)
    result = {}
    for name, images in (('first', x), ('still', noisy), ('moved', blend), ('other', x[::-1])):
        crops = Crops(
            np.ascontiguousarray(images), range(1, len(x) + 1), adaptive.codec.encode(images)
        )
        told = adaptive.refine(crops)[1]
        result[name] = round(float(np.mean([each.iterations for each in told])), 2)
    return result


# The budget


class Moody(IRPPlugin):
    """Does in each step what chance says: work, raise, give NaN, rise, or not return."""

    def __init__(self, rng: np.random.Generator, manners: np.ndarray):
        self.rng, self.manners = rng, manners

    def init_state(self, x):
        """Return the first energies."""
        return np.ones(len(x))

    def step(self, state, active):
        """Return the next energies, perhaps."""
        mood = self.rng.choice(len(self.manners), p=self.manners)
        if mood == 1:
            raise RuntimeError('a mood')
        if mood == 2:
            return np.full(len(state), np.nan)
        if mood == 3:
            return state * 5
        while mood == 4:
            pass
        return state * self.rng.uniform(0.3, 1, len(state))

    def energy(self, state):
        """Return the state, which is the energies."""
        return state

    output = energy


def schedules(count: int) -> dict:
    """Return in how many of `count` random schedules nothing was lost, minted or overspent."""
    rng = np.random.default_rng(0)
    conserved, ends = 0, {}
    for _ in range(count):
        endless = 0.3 if rng.random() < 0.003 else 0.0
        manners = rng.dirichlet((8, 0.5, 0.5, 0.5)) * (1 - endless)
        names = [f'plugin{i}' for i in range(rng.integers(1, 4))]
        orchestrator = Orchestrator(
            {name: Moody(rng, np.append(manners, endless)) for name in names}
        )
        sound, deposited = True, 0
        for _ in range(rng.integers(1, 3)):
            budget = int(rng.integers(0, 60))
            deposited += budget
            work = {}
            for name in names:
                need = rng.exponential(size=rng.integers(0, 5))
                need[rng.random(len(need)) < 0.1] = rng.choice([0.0, -1.0, np.nan, np.inf])
                work[name] = Work(np.zeros(len(need)), list(need))
            results = orchestrator.run(work, budget)
            shares = [share for result in results.values() for share in result.shares]
            ledger = orchestrator.ledger
            granted = sum(share.granted for share in shares)
            sound &= granted <= budget
            sound &= sum(share.extra for share in shares) <= granted
            sound &= sum(share.spent for share in shares) <= budget
            sound &= all(0 <= share.spent <= share.granted + share.extra for share in shares)
            sound &= ledger.available == ledger.reserved == 0
            sound &= ledger.spent + ledger.expired == ledger.deposited == deposited
            for result in results.values():
                ends[result.outcome.name.lower()] = ends.get(result.outcome.name.lower(), 0) + 1
        conserved += bool(sound)
    return {'atp_conserved_schedules': conserved, 'schedules': count, 'outcomes': ends}


# The image


def plot(plugin: TinyVAEIRP, x: np.ndarray, result: dict, path: Path) -> None:
    """Draw PSNR gained over time, and the energy around one crop's way down."""
    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3.2), layout='constrained')
    for name, label in (('', 'one crop alone'), ('_batched', f'{BATCH} together')):
        curve = result[f'psnr_gain_by_ms{name}']
        left.plot([0, *curve], [0, *curve.values()], 'o-', label=label)
    left.axhline(result['deepest']['from_the_guess'], color='gray', ls=':', label='nothing left')
    left.set(xlabel='ms a crop, one thread', ylabel='PSNR gained, dB', xlim=(0, 60))
    left.legend(frameon=False)
    guess = plugin.codec.encode(x)
    state, way = plugin.init_state(Crops(x, guess=guess)), [guess[0]]
    for _ in range(12):
        state = plugin.step(state, np.ones(1, bool))
        way.append(state.best_z[0])
    end = way[-1]
    across = np.linalg.qr(np.stack([guess[0] - end, way[2] - end]).T)[0].T
    flat = (np.stack(way) - end) @ across.T
    reach = 1.3 * np.abs(flat).max()
    ticks = np.linspace(-reach, reach, 15)
    grid = np.stack([end + a * across[0] + b * across[1] for b in ticks for a in ticks])
    energies = plugin.energy(
        plugin.init_state(Crops(np.repeat(x, len(grid), 0), guess=grid.astype(np.float32)))
    )
    right.contour(ticks, ticks, psnr(energies).reshape(15, 15), 14, linewidths=0.8)
    right.plot(*flat.T, 'k.-', lw=1)
    right.set(
        xlabel='from the end to the guess', ylabel='across', title='PSNR around the way down'
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
    parser.add_argument('--decoder', default='tinyvae_hq', help="of the same latents; '': none")
    parser.add_argument('--data', type=Path, default=Path('out/data/images'))
    parser.add_argument('--held-out', type=Path, default=Path('config/train/tinyvae.yaml'))
    parser.add_argument('--crops', type=int, default=32, help='of each kind (32)')
    parser.add_argument('--schedules', type=int, default=10_000)
    parser.add_argument('--plot', type=Path, help='write an image here')
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
    guess, thorough = own.codec.encode(few), Thorough(args.model)
    result = {
        'model': str(own.codec.id),
        'crops': {kind: len(part) for kind, part in kinds.items()},
        'psnr_of_components': of_components(own.codec, kinds),
        **quality(own, kinds),
        'deepest': deepest(thorough, x, own.codec.encode(x)),
        'psnr_gain_by_gradients': optimizers(thorough, few, guess),
        'iterations_of_a_scene': scene(AdaptiveVAE(args.model), few),
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
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=2) + '\n')
    print(json.dumps(result))
    return 0


if __name__ == '__main__':
    sys.exit(main())
