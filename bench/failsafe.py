# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Trust during camera faults, and false alarms of camera health on real video.

Part of `bench/trust.py`. Frames of real video pass through `CameraPipeline`, as on a robot: camera
health, attention, and encoder. Each fault lasts one second; of faults with several variants the
worst one is reported.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from sage_perception.models import Codec
from sage_perception.pipeline.camera import CameraPipeline
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.training.data.files import CLIP_SUFFIXES
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.camera_health import TRUST, CameraHealth, Fault
from sage_perception.vision.sources.video_file import clip_frames
from sage_perception.vision.synthetic import SyntheticWorld

CLIP = 'vtest.avi'
RATE = 30.0  # frames a second
LIVE, FAULTY, AFTER = 90, 30, 45  # frames before, during and after a fault
DROPPED = 0.1  # maximum trust during a fault
DROPPED_CHANNELS = 0.3
WITHIN = 5  # frames until trust must have dropped
RECOVERED = 0.9  # of the trust before
MAX_FRAMES = 500  # of a clip, for false alarms
LATE_S = 3.0

# A fault as a function: (frame, number of the faulty frame, live frames) -> frame.
Change = Callable[[np.ndarray, int, list[np.ndarray]], np.ndarray]


class FaultyInputs(CropEncoder):
    """An encoder that replaces some pixels of its inputs by `value`, unless it is None."""

    value: float | None = None

    def to_input(self, image: np.ndarray) -> np.ndarray:
        """Return a crop as the model reads it, with the replaced pixels."""
        x = super().to_input(image)
        if self.value is not None:
            x[0, ::7, ::5] = self.value
        return x


class Camera:
    """The pipeline of one camera and the trust in its LCTs."""

    def __init__(self, codec: Codec):
        self.encoder = FaultyInputs(codec)
        self.pipeline = CameraPipeline(self.encoder, Identity('cam0'))
        self._last = np.ones(1)  # trusts of the last frame with LCTs, without camera health

    def process(
        self, image: np.ndarray, stamp_s: float, now_s: float, value: float | None = None
    ) -> np.ndarray:
        """Return the trust of each LCT of a frame; without LCTs, of those of the last frame."""
        self.encoder.value = value
        frame = self.pipeline.process(image, round(stamp_s * 1e9), round(now_s * 1e9))
        camera_trust = TRUST[frame.fault]
        if not frame.lcts:
            return camera_trust * self._last
        trusts = np.array([lct.trust for lct in frame.lcts])
        if camera_trust:
            self._last = trusts / camera_trust
        return trusts


def noisy(image: np.ndarray, number: int, sigma: float = 2.0) -> np.ndarray:
    """Return an image with sensor noise."""
    noise = np.random.default_rng(number).normal(0, sigma, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def out_of_focus(image: np.ndarray, share: float) -> np.ndarray:
    """Return an image blurred by a share of its width."""
    return cv2.GaussianBlur(image, (0, 0), share * image.shape[1])


def recoded(image: np.ndarray) -> np.ndarray:
    """Return an image after JPEG compression."""
    return cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], 1)


def snow(image: np.ndarray, number: int, cell: int) -> np.ndarray:
    """Return noise in square cells with a side of `cell` pixels."""
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
    """Yield sequences of frames, uint8 BGR `[480, 640, 3]`: of a clip, and of a rendered world."""
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


def run(
    codec: Codec, frames: list[np.ndarray], fault: str = '', change: Change | None = None
) -> tuple[float, list[np.ndarray]]:
    """Return the median trust before the fault, and the trusts of each later frame."""
    camera = Camera(codec)
    live = frames[:LIVE]
    before = [camera.process(image, n / RATE, n / RATE).mean() for n, image in enumerate(live)]
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
        value = {'nan': np.nan, 'inf': np.inf}.get(fault) if faulty else None
        trusts.append(camera.process(image, stamp_s, now_s, value))
    return float(np.median(before[-30:])), trusts


def summarize(trusts: list, before: float, limit: float) -> dict:
    """Return the trust `WITHIN` frames after the fault, and the frames to drop and to recover."""
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


def measure(codec: Codec, images: Path) -> dict:
    """Return the worst figures of each fault over all scenes, and the time of a health check."""
    clip = next(images.rglob(f'*{CLIP}'))
    kinds = [('nan', None), ('inf', None), ('stands still', None), ('late', None)]
    kinds += [(name, change) for name, changes in CHANGES.items() for change in changes]
    worst: dict[str, dict] = {}
    for frames in scenes(clip):
        for fault, change in kinds:
            limit = DROPPED_CHANNELS if fault == 'channels' else DROPPED
            before, trusts = run(codec, frames, fault, change)
            found = summarize(trusts, before, limit)
            name = 'stale' if fault in ('stands still', 'late') else fault
            known = worst.get(name, found)
            worst[name] = {key: max(known[key], value) for key, value in found.items()}
    # JSON has no infinity: null stands for never.
    faults = {
        name: {key: value if math.isfinite(value) else None for key, value in found.items()}
        for name, found in worst.items()
    }
    return {'faults': faults, 'health_ms': round(health_ms(next(scenes(clip))), 3)}


def health_ms(frames: list[np.ndarray]) -> float:
    """Return the median CPU time of a health check, milliseconds."""
    health, times = CameraHealth(), []
    for n, image in enumerate(frames):
        begun = time.thread_time()
        health.update(image, n / RATE, n / RATE)
        times.append(time.thread_time() - begun)
    return 1e3 * float(np.median(times))


def videos(images: Path, shared: Path | None) -> Iterator[tuple[str, Iterator[np.ndarray]]]:
    """Yield real video by name: clips, and folders of frames."""
    seen = set()
    for root in filter(None, (images, shared)):
        for path in sorted(root.rglob('*')):
            name = path.name.rpartition('opencv4-html-')[2].removeprefix('opencv-doc-')
            if path.suffix.lower() in CLIP_SUFFIXES and name not in seen:
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


def false_alarms(images: Path, shared: Path | None) -> dict:
    """Return the share of frames of real video in which health reports a fault."""
    frames, alarms = Counter(), Counter()
    for name, video in videos(images, shared):
        health = CameraHealth()
        for n, image in enumerate(video):
            if n == MAX_FRAMES:
                break
            stamp_s = n / RATE
            frames[name] += 1
            alarms[name] += health.update(image, stamp_s, stamp_s) > Fault.NONE
    return {
        'false_alarm_rate': round(alarms.total() / frames.total(), 5),
        'frames': frames.total(),
        'videos': len(frames),
        'by_video': {name: f'{alarms[name]} of {count}' for name, count in frames.items()},
    }
