# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure what codes cost a camera: bytes and milliseconds, and the time to encode a frame.

Runs attention and the encoder on a synthetic world at 30 Hz without codes and with both codes, in
turn, on the same frames. A track-second is one second in which a track has a crop. `encode_p…_ms`
are CPU times of encoding a frame, on one thread, so another load of the machine has little effect
on them. Results: out/bench/codes.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np

from sage_perception.core.files import write_atomically
from sage_perception.models import load_crop_codec
from sage_perception.pipeline.camera import CameraPipeline
from sage_perception.pipeline.code_encoder import CodeEncoder
from sage_perception.pipeline.code_models import kinds_of, load_code_model
from sage_perception.pipeline.code_schedule import CodePolicy
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.synthetic import SyntheticWorld

RATE_HZ = 30
KINDS = 'identity,semantic'
CODE_BYTES = 8
"""Bytes of a code in a message besides its payload: four numbers and a length."""


def main() -> None:
    """Write the figures, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='tinyvae')
    parser.add_argument('--code-model', default='semantic_text')
    parser.add_argument('--seconds', type=float, default=20.0, help='of each run')
    parser.add_argument('--runs', type=int, default=2, help='without and with codes, in turn')
    parser.add_argument('--period-s', type=float, default=5.0)
    parser.add_argument('--out', type=Path, default=Path('out/bench/codes.json'))
    args = parser.parse_args()
    cv2.setNumThreads(1)
    codec, model = load_crop_codec(args.model), load_code_model(args.code_model)
    codec.threads = 1
    policy = CodePolicy(args.period_s)
    figures: dict[str, list[dict[str, float]]] = {'without': [], 'with': []}
    for run in range(args.runs):
        for name, kinds in (('without', ''), ('with', KINDS)):
            codes = CodeEncoder(model, kinds_of(kinds), codec.latent_mean, policy)
            encoder = CropEncoder(codec, codes=codes if kinds else None)
            figures[name].append(measure(encoder, args.seconds, seed=run))
    result = {name: mean(runs) for name, runs in figures.items()}
    p95 = [result[name]['encode_p95_ms'] for name in ('with', 'without')]
    result['p95_ratio'] = round(p95[0] / p95[1], 3)
    write_atomically(args.out, json.dumps(result, indent=1) + '\n')
    print(json.dumps(result))


def measure(encoder: CropEncoder, seconds: float, seed: int) -> dict[str, float]:
    """Return the figures of one run."""
    durations_s: list[float] = []
    encode = encoder.encode

    def timed(*args, **kwargs):
        begun_s = time.thread_time()
        found = encode(*args, **kwargs)
        durations_s.append(time.thread_time() - begun_s)
        return found

    encoder.encode = timed
    pipeline = CameraPipeline(encoder, Identity('cam0'))
    world = SyntheticWorld(seed=seed, objects=4)
    track_seconds = payload = 0.0
    cpu_s = 0.0
    for number in range(round(seconds * RATE_HZ)):
        image = world.render(number / RATE_HZ, number)
        begun_s = time.thread_time()
        frame = pipeline.process(image, 10**9 + round(number * 1e9 / RATE_HZ))
        cpu_s += time.thread_time() - begun_s
        if not frame.crops:
            continue
        track_seconds += sum(crop.track_id > 0 for crop in frame.crops) / RATE_HZ
        codes = [code for lct in frame.lcts for code in lct.latent.codes]
        payload += sum(len(code.payload) + CODE_BYTES for code in codes)
    codes = encoder.codes
    return {
        'encode_p50_ms': float(np.percentile(durations_s, 50) * 1e3),
        'encode_p95_ms': float(np.percentile(durations_s, 95) * 1e3),
        'encode_max_ms': float(max(durations_s) * 1e3),
        'cpu_ms_per_frame': 1e3 * cpu_s / round(seconds * RATE_HZ),
        'track_seconds': track_seconds,
        'crops_with_codes': 0.0 if codes is None else float(codes.count),
        'code_bytes_per_track_second': payload / track_seconds,
        'code_ms_per_track_second': 0.0 if codes is None else 1e3 * codes.time_s / track_seconds,
        'ms_per_code': 0.0 if codes is None else 1e3 * codes.time_s / max(codes.count, 1),
    }


def mean(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the means of the figures of several runs."""
    return {name: round(float(np.mean([run[name] for run in runs])), 3) for name in runs[0]}


if __name__ == '__main__':
    main()
