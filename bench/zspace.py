# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure Z-space: `python bench/zspace.py [--shared FOLDER] [SECTION ...]`.

Each figure has the form {value, baselines, seeds}. Prints a JSON object for each section and
writes out/bench/zspace.json, where sections that did not run keep their figures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zspace_attention
import zspace_fusion
import zspace_health
import zspace_peaks
import zspace_positions
import zspace_training
import zspace_vectors
from result_file import add_out, read_result, show_result, write_result

from sage_perception.zspace import (
    DifferentialResonance,
    MultiViewFusion,
    SpectralWindow,
    TemporalResonanceBuffer,
    ViewDescriptor,
    VisionProjector,
    ZSpaceVolume,
)

SEEDS = [0, 1, 2]
"""Seeds of the trained parts."""


def vectors(args: argparse.Namespace) -> dict:
    """Return how many reference vectors are reproduced."""
    cases = zspace_vectors.cases()
    return {'passed': sum(map(zspace_vectors.passes, cases)), 'of': len(cases)}


def projection_ms(args: argparse.Namespace) -> dict:
    """Return the CPU time of a projection of 5 views of 60 × 80 with smoothing, milliseconds."""
    random = np.random.default_rng(0)
    views = [ViewDescriptor(f'cam{i}', (0, 0, 0), random.normal(size=3)) for i in range(5)]
    values = random.random((5, 60, 80))
    projector = VisionProjector(window=SpectralWindow.rectangular())
    fusion, smooth = MultiViewFusion(views), TemporalResonanceBuffer(0.25)
    resonance = DifferentialResonance.uniform(5)
    times = []
    for _ in range(300):
        begin = time.thread_time()
        volume = ZSpaceVolume(values)
        turned = fusion.with_focus_direction((0, 0, 1)).with_baseline_weights(np.ones(5))
        projector.project_multi_view_with_temporal(turned, volume, resonance, smooth)
        times.append(1e3 * (time.thread_time() - begin))
    p50, p95 = np.percentile(times, (50, 95))
    return {'value': round(float(p50), 3), 'p95': round(float(p95), 3), 'baselines': {}}


def peaks(args: argparse.Namespace) -> dict:
    """Return the errors of peaks."""
    return zspace_peaks.measure(list(range(args.seeds)), args.shared)


def fusion(args: argparse.Namespace) -> dict:
    """Return the errors of fused latents."""
    return zspace_fusion.measure(list(range(args.seeds)))


def positions(args: argparse.Namespace) -> dict:
    """Return the errors of positions."""
    return zspace_positions.measure(list(range(args.seeds)), args.shared)


def attention(args: argparse.Namespace) -> dict:
    """Return recall and false regions of attention with and without the cue volume."""
    return zspace_attention.measure(_shared(args))


def health(args: argparse.Namespace) -> dict:
    """Return how fast camera faults show in slice profiles and in the divergence of maps."""
    return zspace_health.measure(_shared(args))


def generator(args: argparse.Namespace) -> dict:
    """Return the errors of the trained forecast of profiles."""
    return zspace_training.generator(SEEDS, zspace_training.clips(_shared(args)))


def super_resolution(args: argparse.Namespace) -> dict:
    """Return the PSNR of the trained interpolation of slices."""
    return zspace_training.super_resolution(SEEDS, zspace_training.clips(_shared(args)))


def decoder(args: argparse.Namespace) -> dict:
    """Return the PSNR of the trained decoder."""
    return zspace_training.decoder(SEEDS, _shared(args))


def _shared(args: argparse.Namespace) -> Path:
    if args.shared is None:
        raise SystemExit('this section trains on recorded data: pass --shared FOLDER')
    return args.shared


SECTIONS: dict[str, Callable[[argparse.Namespace], dict]] = {
    'vectors': vectors,
    'projection_ms': projection_ms,
    'peaks': peaks,
    'fusion': fusion,
    'positions': positions,
    'attention': attention,
    'health': health,
    'generator': generator,
    'super_resolution': super_resolution,
    'decoder': decoder,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('sections', nargs='*', metavar='SECTION', help=', '.join(SECTIONS))
    parser.add_argument('--shared', type=Path, help='folder of recorded data sets')
    parser.add_argument('--seeds', type=int, default=5, help='scenes of each kind (default: 5)')
    add_out(parser, 'zspace')
    args = parser.parse_args()
    if unknown := set(args.sections) - SECTIONS.keys():
        parser.error(f'unknown section {", ".join(sorted(unknown))}')
    result = read_result(args.out)
    for name in args.sections or SECTIONS:
        result[name] = SECTIONS[name](args)
        show_result({name: result[name]})
        write_result(args.out, result)


if __name__ == '__main__':
    main()
