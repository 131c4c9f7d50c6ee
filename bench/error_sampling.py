# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure what sampled reconstruction errors cost and lose: `bench/error_sampling.py VIDEO …`.

Encodes the crops that attention finds in videos, and measures the error of each. `sampled` is the
default of encoders, `third` a measurement in every third frame: each has the share of the crops
that it measures, and how much the trust differs from that with the error of each crop. Results:
out/bench/error_sampling.json.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from result_file import add_out, show_result, write_result

from sage_perception.codecs.packing import Encoding
from sage_perception.models import load_crop_codec
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.pipeline.error_sampler import ErrorSampler
from sage_perception.vision.attention import Attention
from sage_perception.vision.sources.video_file import clip_frames


def main() -> None:
    """Write and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('videos', type=Path, nargs='+')
    parser.add_argument('--model', default='tinyvae')
    parser.add_argument('--frames', type=int, default=300, help='of each video')
    add_out(parser, 'error_sampling')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    codec = load_crop_codec(args.model)
    measured: dict[str, list[int]] = defaultdict(list)
    differences: dict[str, list[np.ndarray]] = defaultdict(list)
    crops = 0
    for path in args.videos:
        encoder = CropEncoder(codec, encoding=Encoding.INT8, measure_every=1)
        std = codec.latent_std.ravel()
        # To infinite deviations no latent changes, so that only the number of frames counts.
        samplers = {
            'sampled': ErrorSampler(std),
            'third': ErrorSampler(np.full_like(std, np.inf), 3),
        }
        attention = Attention()
        for frame, stamp_s in itertools.islice(clip_frames(path), args.frames):
            found = attention.attend(frame, stamp_s)
            if not found:
                continue
            encoded = encoder.encode_crops(found)
            crops += len(found)
            kl = np.array([each.telemetry.kl_per_dim for each in encoded.latents])
            exact = np.array([each.telemetry.trust for each in encoded.latents])
            for name, sampler in samplers.items():
                due = sampler.due(encoded.tracks, encoded.means)
                tracks = [encoded.tracks[i] for i in due]
                sampler.note(tracks, encoded.means[due], encoded.errors[due])
                errors = np.array([sampler.last(track) for track in encoded.tracks])
                trust = encoder.telemetry_trust(errors, kl, encoded.means, encoded.inputs)
                measured[name].append(len(due))
                differences[name].append(np.abs(trust - exact))
    figures: dict = {'videos': [path.name for path in args.videos], 'crops': crops}
    for name, values in differences.items():
        all_of_them = np.concatenate(values)
        figures[name] = {
            'measured': round(sum(measured[name]) / crops, 4),
            'trust_mean': round(float(all_of_them.mean()), 4),
            'trust_p95': round(float(np.percentile(all_of_them, 95)), 4),
            'trust_max': round(float(all_of_them.max()), 4),
        }
    write_result(args.out, figures)
    show_result(figures)


if __name__ == '__main__':
    main()
