# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the ids of tracks that come back, without and with links of tracks.

Synthetic objects are hidden for a part of each period by an opaque board in front of the scene.
For each time that an object comes back, its id before is compared with that a second after
(`kept`); `wrong` counts the times that it has the id of another object. Results:
out/bench/reentry.json.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
from result_file import add_out, show_result, write_result

from sage_perception.models import load_crop_codec
from sage_perception.pipeline.camera import CameraPipeline
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.pipeline.track_linker import TrackLinker
from sage_perception.trust.fitted import track_comparer
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.attention import AttentionConfig
from sage_perception.vision.synthetic import SyntheticWorld

RATE_HZ = 15
BOARD = (0.4, 0.6)
"""Left and right end of the board, shares of the width."""
MIN_IOU = 0.3


def main() -> None:
    """Write the figures, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='tinyvae')
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=30.0)
    parser.add_argument('--reentry-s', type=float, default=3.0)
    add_out(parser, 'reentry')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    codec = load_crop_codec(args.model)
    result = {}
    for name, gap_s in (('without', 0.0), ('with', args.reentry_s)):
        runs = [run(codec, gap_s, args.seconds, seed) for seed in range(args.seeds)]
        returns, kept, wrong = np.sum(runs, axis=0)
        result[name] = {
            'returns': int(returns),
            'kept': round(float(kept / max(returns, 1)), 3),
            'wrong': round(float(wrong / max(returns, 1)), 3),
        }
    write_result(args.out, result)
    show_result(result)


def run(codec, gap_s: float, seconds: float, seed: int) -> tuple[int, int, int]:
    """Return how often objects came back, kept their id, and got that of another object."""
    linker = TrackLinker(track_comparer(codec), gap_s) if gap_s else None
    encoder = CropEncoder(codec, linker=linker)
    pipeline = CameraPipeline(encoder, Identity('cam0'), AttentionConfig(saliency_weight=0.0))
    world = SyntheticWorld(seed=seed, objects=3)
    left, right = (round(share * world.width) for share in BOARD)
    last: dict[int, tuple[int, int]] = {}  # object: id, and number of the frame
    due: dict[int, tuple[int, int]] = {}  # object: number of the frame, and id before
    owners: dict[int, int] = {}
    returns = kept = wrong = 0
    for number in range(round(seconds * RATE_HZ)):
        at_s = number / RATE_HZ
        image = world.render(at_s, number)
        image[:, left:right] = 128
        frame = pipeline.process(image, 10**9 + round(at_s * 1e9))
        for thing in world.truth(at_s):
            ids = [
                lct.latent.track_id
                for lct in frame.lcts
                if lct.latent.roi is not None and lct.latent.roi.iou(thing.roi) > MIN_IOU
            ]
            if not ids or left < thing.roi.center[0] < right:
                continue
            track = ids[0]
            before, seen = last.get(thing.id, (track, number))
            last[thing.id] = track, number
            if number - seen > RATE_HZ // 2:
                due[thing.id] = number + RATE_HZ, before
            elif thing.id in due and number >= due[thing.id][0]:
                returns += 1
                kept += track == due.pop(thing.id)[1]
                wrong += owners.get(track, thing.id) != thing.id
            if thing.id not in due:
                owners.setdefault(track, thing.id)
    return returns, kept, wrong


if __name__ == '__main__':
    main()
