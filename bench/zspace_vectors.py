# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluate the reference vectors of specification 004, test/data/zspace_vectors.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sage_perception.models.backbones import SkipSlipSchedule
from sage_perception.zspace import (
    AtlasFrame,
    ChronoSummary,
    DifferentialResonance,
    InterpolationMethod,
    MultiViewFusion,
    SpectralWindow,
    SpiralRnn,
    TemporalResonanceBuffer,
    ViewDescriptor,
    VisionProjector,
    ZDiffuser,
    ZSpaceError,
    ZSpaceVolume,
)

FILE = Path(__file__).parents[1] / 'test/data/zspace_vectors.json'
TOLERANCE = {'SpiralRnn': 2e-6}
DEFAULT_TOLERANCE = 1e-6


def cases() -> list[dict]:
    """Return the vectors: name, input and output of each."""
    return json.loads(FILE.read_text())['cases']


def passes(case: dict) -> bool:
    """Return whether a vector is reproduced within its tolerance."""
    kind = case['name'].partition('.')[0]
    return _equal(evaluate(case), case['output'], TOLERANCE.get(kind, DEFAULT_TOLERANCE))


def evaluate(case: dict) -> Any:
    """Return what the package computes for the input of a vector; the text of an error."""
    for prefix, compute in COMPUTE.items():
        if case['name'].startswith(prefix):
            try:
                return compute(case['input'], case['name'])
            except ZSpaceError as error:
                return f'error: {error}'
    raise KeyError(case['name'])


def _equal(actual: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, dict):
        return actual.keys() == expected.keys() and all(
            _equal(actual[key], value, tolerance) for key, value in expected.items()
        )
    if isinstance(expected, str):  # an error, in the words of another implementation
        return isinstance(actual, str) and actual.startswith('error: ')
    if isinstance(expected, list) and expected and isinstance(expected[0], (dict, list)):
        return len(actual) == len(expected) and all(
            _equal(a, e, tolerance) for a, e in zip(actual, expected, strict=True)
        )
    return not isinstance(actual, str) and np.allclose(actual, expected, rtol=0, atol=tolerance)


def _window(given: dict, name: str) -> np.ndarray:
    kind = name.partition('.')[2]
    return SpectralWindow(kind, given.get('sigma', 0.4)).weights(given['depth'])


def _profile(given: dict, _: str) -> dict:
    return ZSpaceVolume(given['volume']).slice_profile()._asdict()


def _accumulated(given: dict, _: str) -> np.ndarray:
    volume = ZSpaceVolume(given.get('current', [[[0.0]]]))
    volume.accumulate(ZSpaceVolume(given.get('next', [[[0.0]]])), float(given['alpha']))
    return volume.values


def _resonance(given: dict) -> DifferentialResonance:
    return DifferentialResonance(**{k: np.array(v) for k, v in given.items()})


def _projection(given: dict, _: str) -> dict:
    projector = VisionProjector(
        given['focus'], given['spread'], given['energy_bias'], SpectralWindow(given['window'])
    )
    volume, resonance = ZSpaceVolume(given['volume']), _resonance(given['resonance'])
    return {
        'weights': projector.depth_weights(volume, resonance),
        'projection': projector.project(volume, resonance),
    }


def _calibration(given: dict, _: str) -> dict:
    projector = VisionProjector.from_summary(ChronoSummary(**given['from_summary']))
    found = projector.calibrate_from_atlas(AtlasFrame(**given['atlas']))
    return {name: getattr(found, name) for name in ('focus', 'spread', 'energy_bias')}


def _buffer(given: dict, _: str) -> list[dict]:
    buffer = TemporalResonanceBuffer(given['decay'])
    return [{'out': buffer.apply(w), 'frames': buffer.frames} for w in given['sequence']]


def _fusion(given: dict) -> MultiViewFusion:
    views = [
        ViewDescriptor(str(i), (0, 0, 0), forward, baseline)
        for i, (forward, baseline) in enumerate(
            zip(given['forwards'], given['baselines'], strict=True)
        )
    ]
    fusion = MultiViewFusion(views).with_focus_direction(given['focus'])
    return fusion.with_alignment_gamma(given['gamma'])


def _multi_view(given: dict, _: str) -> dict:
    projector = VisionProjector(*given['projector'], SpectralWindow(given['window']))
    fusion, resonance = _fusion(given), _resonance(given['resonance'])
    volume = ZSpaceVolume(np.zeros((len(given['forwards']), 1, 1)))
    return {
        'depth_weights': projector.depth_weights(volume, resonance),
        'multi_view_weights': projector.depth_weights_multi_view(fusion, volume, resonance),
    }


def _slip(given: dict, _: str) -> list[np.ndarray]:
    return SkipSlipSchedule.linear(0.25, 1).per_stage().with_power(1.2).preview(given['depths'])


def _blended_slip(given: dict, _: str) -> list[np.ndarray]:
    start, end, power, _ = given['schedule']
    schedule = SkipSlipSchedule(start, end, power, by_stage=True)
    return schedule.preview_with_identity_blend(given['depths'], 0.5)


COMPUTE: dict[str, Callable[[dict, str], Any]] = {
    'SpectralWindow.': _window,
    'ZSpaceVolume.profile': _profile,
    'ZSpaceVolume.total_energy': lambda g, _: ZSpaceVolume(g['volume']).total_energy(),
    'ZSpaceVolume.accumulate': _accumulated,
    'from_slices shape error': lambda g, _: ZSpaceVolume.from_slices(
        [np.zeros(shape) for shape in g['shapes']]
    ),
    'ZSpaceVolume.spectral_response': lambda g, _: ZSpaceVolume(g['volume']).spectral_response(
        SpectralWindow(g['window'])
    ),
    'ZSpaceVolume.interpolate': lambda g, _: (
        ZSpaceVolume(g['volume']).interpolate(InterpolationMethod(g['method'])).values
    ),
    'ZSpaceVolume.upscale': lambda g, _: ZSpaceVolume(g['volume']).upscale(g['factor']).values,
    'ZDiffuser.diffuse': lambda g, _: (
        ZDiffuser(g['iterations'], g['rate']).diffuse(ZSpaceVolume(g['volume'])).values
    ),
    'resonance_weights': lambda g, _: _resonance(g['resonance']).weights(g['depth']),
    'VisionProjector.depth_weights+project': _projection,
    'VisionProjector.temporal_weights': lambda g, _: VisionProjector(
        temporal_focus=g['temporal_focus'], temporal_decay=g['temporal_decay']
    ).temporal_weights(g['frames']),
    'VisionProjector.calibrate_from_atlas': _calibration,
    'TemporalResonanceBuffer.apply': _buffer,
    'MultiViewFusion.view_bias_profile': lambda g, _: _fusion(g).view_bias_profile(),
    'depth_weights_multi_view': _multi_view,
    'SpiralRnn.forward': lambda g, _: {
        'y': SpiralRnn.from_state_dict(g['state_dict']).forward(g['x'])
    },
    'SkipSlipSchedule.preview': _slip,
    'preview_with_identity_blend': _blended_slip,
}
