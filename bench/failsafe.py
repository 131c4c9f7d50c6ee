# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of trust when a camera fails, and whether a good camera is ever doubted.

Part of `bench/trust.py`. Frames of real video go the way they go in the graph: health and
attention, crops to the encoder, an LCT's trust for each. Each fault lasts a second and is then
over; some faults come in several kinds, of which the worst is reported.
"""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from sage_perception.core.metrics import kl_per_dim
from sage_perception.models import Codec
from sage_perception.pipeline.error_sampler import ErrorSampler
from sage_perception.training.data.crops import CLIPS, clip_frames, to_model
from sage_perception.trust.fitted import telemetry_trust_of
from sage_perception.vision.attention import MotionAttention
from sage_perception.vision.camera_health import TRUST, CameraHealth, Fault
from sage_perception.vision.synthetic import SyntheticWorld

CLIP = 'vtest.avi'
RATE = 30.0  # frames a second
LIVE, FAULTY, AFTER = 90, 30, 45  # frames before, with and after a fault
DROPPED = 0.1  # trust that a fault leaves at most
DROPPED_CHANNELS = 0.3
WITHIN = 5  # frames, by which trust is to have dropped
RECOVERED = 0.9  # of the trust before
MAX_FRAMES = 500  # of a clip, for false alarms
LATE_S = 3.0

# How a fault changes a frame: (frame, number of the faulty frame, the last live frames) -> frame.
Change = Callable[[np.ndarray, int, list[np.ndarray]], np.ndarray]


class Chain:
    """Attention and encoder of one camera, without the graph around them."""

    def __init__(self, codec: Codec):
        self.codec = codec
        self.health = CameraHealth()
        self.attention = MotionAttention()
        self.memory = ErrorSampler(3)
        self.judge = telemetry_trust_of(codec)
        self.last = np.ones(1)  # what was last said, without the camera's health

    def copy(self) -> Chain:
        """Return a chain that has seen the same."""
        other = copy.copy(self)
        ids = self.attention._ids  # a generator: both go on with it
        for part in ('health', 'attention', 'memory'):
            setattr(other, part, copy.deepcopy(getattr(self, part), {id(ids): ids}))
        return other

    def see(self, image: np.ndarray, stamp_s: float, now_s: float, spoil=None) -> np.ndarray:
        """Return the trust of each LCT of a frame, of the last ones where it has none."""
        fault = self.health.update(image, stamp_s, now_s)
        if crops := self.attention.attend(image, stamp_s):
            x = to_model(np.stack([crop.image for crop in crops]), 3)
            if spoil is not None:
                x[:, 0, ::7, ::5] = spoil
            z, log_var = self.codec.encode_stats(x)
            tracks = [crop.track_id for crop in crops]
            error = self.memory.measure(tracks, x, lambda due: self.codec.decode(z[due]))
            self.last = self.judge(error, kl_per_dim(z, log_var), z, x)
        return TRUST[fault] * self.last


def noisy(image: np.ndarray, number: int, sigma: float = 2.0) -> np.ndarray:
    """Return an image with sensor noise."""
    noise = np.random.default_rng(number).normal(0, sigma, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def out_of_focus(image: np.ndarray, share: float) -> np.ndarray:
    """Return an image blurred by a share of its width."""
    return cv2.GaussianBlur(image, (0, 0), share * image.shape[1])


def recoded(image: np.ndarray) -> np.ndarray:
    """Return an image as JPEG leaves it."""
    return cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], 1)


def snow(image: np.ndarray, number: int, cell: int) -> np.ndarray:
    """Return noise in cells of so many pixels."""
    height, width = image.shape[:2]
    shape = (height // cell, width // cell, 3)
    noise = np.random.default_rng(number).integers(0, 256, shape, np.uint8)
    return cv2.resize(noise, (width, height))


CHANGES: dict[str, list[Change]] = {
    'frozen': [
        lambda image, n, live: live[-1],
        lambda image, n, live: recoded(live[-1]),
        lambda image, n, live: live[-1 - n % 4],  # a driver that repeats its buffers
    ],
    'covered': [
        lambda image, n, live: noisy(image * 0.02, n),
        lambda image, n, live: noisy(np.full_like(image, 120), n),
        lambda image, n, live: noisy(out_of_focus(image, 0.08) * 0.3 + 10, n),
        lambda image, n, live: noisy(out_of_focus(image, 0.02), n),
    ],
    'saturated': [
        lambda image, n, live: np.full_like(image, 255),
        lambda image, n, live: noisy(image * 0.05 + 245, n),
        lambda image, n, live: (image.astype(np.float32) * 6 + 60).clip(0, 255).astype(np.uint8),
    ],
    'noise': [
        lambda image, n, live: snow(image, n, 1),
        lambda image, n, live: snow(image, n, 4),
        lambda image, n, live: snow(image, n, 16),
    ],
    'channels': [lambda image, n, live: np.ascontiguousarray(image[..., ::-1])],
}


def scenes(clip: Path) -> Iterator[list[np.ndarray]]:
    """Yield stretches of frames, uint8 BGR `[480, 640, 3]`: of a clip, and of a rendered world."""
    count = LIVE + FAULTY + AFTER
    frames = []
    for image, _ in clip_frames(clip):
        frames.append(cv2.resize(image, (640, 480), interpolation=cv2.INTER_AREA))
        if len(frames) == 2 * count:
            break
    yield frames[:count]
    yield frames[count:]
    world = SyntheticWorld(seed=3)
    yield [world.render(n / RATE, n) for n in range(count)]


def run(chain: Chain, frames: list[np.ndarray], fault: str, change: Change | None) -> list:
    """Return the trusts of each frame from the first faulty one on."""
    live = frames[:LIVE]
    trusts = []
    for n, image in enumerate(frames[LIVE:]):
        now_s = stamp_s = (LIVE + n) / RATE
        faulty = n < FAULTY
        if faulty and change is not None:
            image = change(image, n, live)
        if faulty and fault == 'stands still':
            stamp_s = (LIVE - 1) / RATE
        if faulty and fault == 'late':
            stamp_s -= LATE_S
        spoil = {'nan': np.nan, 'inf': np.inf}.get(fault) if faulty else None
        trusts.append(chain.see(image, stamp_s, now_s, spoil))
    return trusts


def judged(trusts: list, before: float, limit: float) -> dict:
    """Return how low trust is `WITHIN` frames after the fault began, and when it fell and rose."""
    most = [float(t.max()) for t in trusts[:FAULTY]]
    high = [n for n, trust in enumerate(most) if trust > limit]
    drop = high[-1] + 2 if high else 1
    after = [float(t.mean()) for t in trusts[FAULTY:]]
    recover = next((n for n, t in enumerate(after, 1) if t >= RECOVERED * before), math.inf)
    return {
        'trust': round(max(most[WITHIN - 1 :]), 4),
        'frames_to_drop': drop if drop <= FAULTY else math.inf,
        'frames_to_recover': recover,
    }


def measure(codec: Codec, pictures: Path) -> dict:
    """Return for each fault its worst figures over all kinds and scenes, and what a look costs."""
    clip = next(pictures.rglob(f'*{CLIP}'))
    kinds = [('nan', None), ('inf', None), ('stands still', None), ('late', None)]
    kinds += [(name, change) for name, changes in CHANGES.items() for change in changes]
    worst: dict[str, dict] = {}
    for frames in scenes(clip):
        chain = Chain(codec)
        trusts = [chain.see(image, n / RATE, n / RATE) for n, image in enumerate(frames[:LIVE])]
        before = float(np.median([t.mean() for t in trusts[-30:]]))
        for fault, change in kinds:
            limit = DROPPED_CHANNELS if fault == 'channels' else DROPPED
            found = judged(run(chain.copy(), frames, fault, change), before, limit)
            name = 'stale' if fault in ('stands still', 'late') else fault
            known = worst.get(name, found)
            worst[name] = {key: max(known[key], value) for key, value in found.items()}
    # JSON has no infinity: null is never.
    faults = {
        name: {key: value if math.isfinite(value) else None for key, value in found.items()}
        for name, found in worst.items()
    }
    return {'faults': faults, 'health_ms': round(health_ms(next(scenes(clip))), 3)}


def health_ms(frames: list[np.ndarray]) -> float:
    """Return the median time that a look at a frame takes, milliseconds of one core."""
    health, times = CameraHealth(), []
    for n, image in enumerate(frames):
        begun = time.thread_time()
        health.update(image, n / RATE, n / RATE)
        times.append(time.thread_time() - begun)
    return 1e3 * float(np.median(times))


def videos(pictures: Path, shared: Path | None) -> Iterator[tuple[str, Iterator[np.ndarray]]]:
    """Yield real video by name: clips, and folders of frames."""
    seen = set()
    for root in filter(None, (pictures, shared)):
        for path in sorted(root.rglob('*')):
            name = path.name.rpartition('opencv4-html-')[2].removeprefix('opencv-doc-')
            if path.suffix.lower() in CLIPS and name not in seen:
                seen.add(name)
                yield name, (image for image, _ in clip_frames(path))
    if shared is not None:
        folders = [
            *sorted((shared / 'video_masks_davis' / 'JPEGImages').iterdir()),
            shared / 'video_masks_pumavos_chair' / 'JPEGImages',
        ]
        for folder in folders:
            name = f'{folder.parent.parent.name}/{folder.name}'
            yield name, (cv2.imread(str(path)) for path in sorted(folder.glob('*.jpg')))


def false_alarms(pictures: Path, shared: Path | None) -> dict:
    """Return the share of frames of real video at which a camera is not trusted."""
    frames, punished = Counter(), Counter()
    for name, images in videos(pictures, shared):
        health = CameraHealth()
        for n, image in enumerate(images):
            if n == MAX_FRAMES:
                break
            stamp_s = n / RATE
            frames[name] += 1
            punished[name] += health.update(image, stamp_s, stamp_s) > Fault.NONE
    return {
        'false_alarm_rate': round(punished.total() / frames.total(), 5),
        'frames': frames.total(),
        'videos': len(frames),
        'by_video': {name: f'{punished[name]} of {count}' for name, count in frames.items()},
    }
