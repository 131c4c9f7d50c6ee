# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how long track ids last: `python bench/tracks.py [--shared FOLDER]`.

`kept`: fraction of the cases in which a track id still names the same object after .2, 1, 2 and
5 s, of those in which the object is in view and was found at the start. `idf1` and `hota`: on the
same frames, by TrackEval (regions against the squares of the objects). Synthetic worlds with a
standing and a moving camera; with FOLDER, the clips with masks too, as `clips`. Prints a JSON
object and writes out/bench/tracks.json. Needs `pip install --no-deps trackeval==1.3.0`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path

import cv2
import numpy as np
from attention_scenes import (
    SYNTHETIC_FPS,
    VIDEO_FPS,
    Sample,
    Scene,
    is_exempt,
    masked_clips,
    moving_camera,
    shows,
    square_of,
    standing_camera,
)
from result_file import add_out, show_result, write_result

from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi
from sage_perception.vision import Attention

HORIZONS_S = (0.2, 1.0, 2.0, 5.0)
WARMUP_S = 0.3


class Recording:
    """The objects, the regions and their overlaps in each frame of a scene."""

    def __init__(self, scene: Scene, fps: float):
        self.fps = fps
        self.objects, self.tracks, self.overlaps, self.names = [], [], [], []
        chooser = Attention()
        for index, sample in enumerate(scene()):
            crops = [
                crop
                for crop in chooser.attend(sample.image, sample.stamp_s)
                if crop.source == CropSource.MOTION and _counts(crop.roi, sample)
            ]
            if index < WARMUP_S * fps:
                continue
            squares = [square_of(item) for item in sample.objects.values()]
            self.objects.append(list(sample.objects))
            self.tracks.append([crop.track_id for crop in crops])
            self.overlaps.append(
                np.array([[c.roi.iou(s) for c in crops] for s in squares]).reshape(
                    len(squares), len(crops)
                )
            )
            names = {}
            for key, item in sample.objects.items():
                shown = [c for c in crops if shows(c.roi, item)]
                if shown:
                    names[key] = max(shown, key=lambda c: c.roi.iou(square_of(item))).track_id
            self.names.append(names)

    def kept(self, horizon_s: float) -> tuple[int, int]:
        """Return in how many cases the id stayed, and the number of cases."""
        steps, kept, cases = round(horizon_s * self.fps), 0, 0
        for index in range(len(self.names) - steps):
            for key, name in self.names[index].items():
                # The object must have been in view all the time.
                if all(key in objects for objects in self.objects[index : index + steps + 1]):
                    cases += 1
                    kept += self.names[index + steps].get(key) == name
        return kept, cases

    def sequence(self) -> dict:
        """Return the sequence in TrackEval's format."""
        objects = sorted({key for keys in self.objects for key in keys})
        tracks = sorted({key for keys in self.tracks for key in keys})
        return {
            'num_timesteps': len(self.objects),
            'num_gt_ids': len(objects),
            'num_tracker_ids': len(tracks),
            'num_gt_dets': sum(map(len, self.objects)),
            'num_tracker_dets': sum(map(len, self.tracks)),
            'gt_ids': [np.array([objects.index(k) for k in keys], int) for keys in self.objects],
            'tracker_ids': [
                np.array([tracks.index(k) for k in keys], int) for keys in self.tracks
            ],
            'similarity_scores': self.overlaps,
        }


def _counts(region: Roi, sample: Sample) -> bool:
    """Return whether a region shows a marked object, or nothing that moves beside them."""
    shown = any(shows(region, item) for item in sample.objects.values())
    return shown or not is_exempt(region, sample)


def summary(recordings: list[Recording], metrics: dict) -> dict:
    """Return kept ids, IDF1 and HOTA over recordings."""
    kept = {}
    for horizon_s in HORIZONS_S:
        counts = np.sum([r.kept(horizon_s) for r in recordings], axis=0)
        kept[f'{horizon_s:g}'] = round(float(counts[0] / counts[1]), 4) if counts[1] else None
    values = {}
    for name, metric in metrics.items():
        results = {str(i): metric.eval_sequence(r.sequence()) for i, r in enumerate(recordings)}
        values[name] = metric.combine_sequences(results)
    return {
        'kept': kept,
        'idf1': round(float(values['identity']['IDF1']), 4),
        'hota': round(float(np.mean(values['hota']['HOTA'])), 4),
    }


def load_metrics() -> dict:
    """Return TrackEval's metrics."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from trackeval.metrics.hota import HOTA
            from trackeval.metrics.identity import Identity
    except ImportError:
        raise SystemExit('TrackEval is missing: pip install --no-deps trackeval==1.3.0') from None
    return {'hota': HOTA(), 'identity': Identity({'PRINT_CONFIG': False})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--shared', type=Path, help='folder of the clips with masks')
    parser.add_argument('--seeds', type=int, default=3, help='worlds of each kind (default: 3)')
    parser.add_argument(
        '--seconds', type=float, default=8.0, help='length of a world (default: 8)'
    )
    add_out(parser, 'tracks')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    metrics, frames = load_metrics(), int(args.seconds * SYNTHETIC_FPS)
    still = [Recording(standing_camera(seed, frames), SYNTHETIC_FPS) for seed in range(args.seeds)]
    moving = [
        Recording(moving_camera(motion, px, seed, frames), SYNTHETIC_FPS)
        for motion, px in (('pan', 2.0), ('roll', 4.0), ('zoom', 2.0))
        for seed in range(args.seeds)
    ]
    result = {
        **summary(still + moving, metrics),
        'still_camera': summary(still, metrics),
        'moving': summary(moving, metrics),
    }
    if args.shared:
        clips = {
            **masked_clips(args.shared / 'video_masks_davis'),
            **masked_clips(args.shared / 'video_masks_pumavos_chair'),
        }
        recordings = {name: Recording(clip, VIDEO_FPS) for name, clip in clips.items()}
        result['clips'] = summary(list(recordings.values()), metrics)
    show_result(result)
    write_result(args.out, result)


if __name__ == '__main__':
    main()
