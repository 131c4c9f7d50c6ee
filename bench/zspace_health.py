# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera faults by slice profiles, and by the divergence of two cameras' maps, against health.

`profiles`: a fault is reported after three frames whose slice profile is farther from the average
of the last two seconds than a limit. Profiles are those of `zspace_node`'s cue volumes, and of
volumes of brightness, fine and coarse structure and change, made for this purpose. `divergence`:
the maps of two cameras that see one scene differ by more than a limit in three frames, while one
of them is faulty. Limits are the smallest ones without a false alarm on other videos or scenes.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import cv2
import failsafe
import numpy as np
import zspace_positions

from sage_perception.pipeline.cue_volume import CueProjector
from sage_perception.vision.camera_health import CONFIRM, CameraHealth, Fault
from sage_perception.zspace import ZSpaceVolume, map_divergence

T = TypeVar('T')
FRAMES = 80
"""Maximum number of frames of a video without faults."""
LIVE, FAULTY = 60, 15
"""Frames before and during a fault."""
MEMORY = 60
"""Frames of the running average of profiles, and the longest alarm until it starts over."""
MIN_SPREAD = 0.05
"""Smallest deviation of the logarithm of a feature."""
LIMITS = np.geomspace(2, 200, 40)
CHOICE_SEEDS, SEEDS = (60, 61), (0, 1)
CHANGES: dict[str, list[failsafe.Change]] = {
    **failsafe.CHANGES,
    'dark': [
        lambda image, n, live: failsafe.noisy(image * 0.1, n),
        lambda image, n, live: failsafe.noisy(image * 0.25, n),
    ],
    'slightly blurred': [
        lambda image, n, live: failsafe.noisy(failsafe.out_of_focus(image, 0.004), n),
        lambda image, n, live: failsafe.noisy(failsafe.out_of_focus(image, 0.008), n),
    ],
    'half covered': [lambda image, n, live: _half_covered(image, n)],
    'flicker': [lambda image, n, live: cv2.convertScaleAbs(image, alpha=(1.0, 0.5)[n % 2])],
}


def in_copy(measure: Callable[[], T]) -> T:
    """Return `measure()` without its effects: a child process runs it.

    The trackers of OpenCV in the state of attention cannot be copied in one process.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    fork = multiprocessing.get_context('fork')
    process = fork.Process(target=lambda: sender.send(measure()))
    process.start()
    sender.close()
    found: T = receiver.recv()
    process.join()
    return found


def _half_covered(image: np.ndarray, number: int) -> np.ndarray:
    covered = image.copy()
    covered[:, image.shape[1] // 2 :] = 20
    return failsafe.noisy(covered, number)


class Bands:
    """Volumes of brightness, fine structure, coarse structure and change of successive frames."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def profile(self, image: np.ndarray, stamp_s: float) -> np.ndarray:
        """Return the profile of the next frame, `[12]`."""
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
        near, far = cv2.blur(gray, (3, 3)), cv2.blur(gray, (15, 15))
        last = gray if self._last is None else self._last
        self._last = gray
        maps = (gray, abs(gray - near), abs(near - far), abs(gray - last))
        small = [cv2.resize(each, (80, 60), interpolation=cv2.INTER_AREA) for each in maps]
        return flat(ZSpaceVolume.from_slices(small))


class Cues:
    """The volumes of `zspace_node`."""

    def __init__(self) -> None:
        self._projector = CueProjector()

    def profile(self, image: np.ndarray, stamp_s: float) -> np.ndarray:
        """Return the profile of the next frame, `[12]`."""
        return flat(self._projector.update(image, stamp_s).volume)


class Health:
    """The health checks of the attention node: 1 while they report a fault."""

    def __init__(self) -> None:
        self._health = CameraHealth()

    def profile(self, image: np.ndarray, stamp_s: float) -> np.ndarray:
        """Return whether the next frame is reported, `[1]`."""
        return np.array([self._health.update(image, stamp_s, stamp_s) > Fault.NONE], float)


def flat(volume: ZSpaceVolume) -> np.ndarray:
    """Return the logarithms of means, deviations and root energies of a volume, `[3·D]`."""
    means, stds, energies = volume.slice_profile()
    return np.log(np.concatenate([abs(means), stds, np.sqrt(energies)]) + 1e-3)


KINDS: dict[str, Callable[[], Bands | Cues | Health]] = {
    'health': Health,
    'bands': Bands,
    'cues': Cues,
}


def alarms(profiles: np.ndarray, limit: float) -> np.ndarray:
    """Return whether each of successive profiles `[T, F]` is reported, bool `[T]`."""
    mean, square, count = profiles[0], np.zeros(profiles.shape[1]), 1
    far, found = 0, np.zeros(len(profiles), bool)
    for index, profile in enumerate(profiles):
        change = profile - mean
        spread = np.maximum(np.sqrt(square), MIN_SPREAD)
        is_far = count >= CONFIRM and float((abs(change) / spread).max()) > limit
        far = far + 1 if is_far else 0
        found[index] = far >= CONFIRM
        if far > MEMORY:  # the scene has changed for good
            mean, square, count, far = profile, np.zeros_like(square), 1, 0
        elif not is_far:
            count = min(count + 1, MEMORY)
            mean = mean + change / count
            square = square + (change * change - square) / count
    return found


def good_videos(shared: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return the profiles `[T, F]` of each kind for each video without faults."""
    found = {}
    for name, video in failsafe.videos(shared, shared):
        makers = {kind: make() for kind, make in KINDS.items()}
        rows: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
        for index, image in zip(range(FRAMES), video, strict=False):
            for kind, maker in makers.items():
                rows[kind].append(maker.profile(image, index / failsafe.RATE))
        found[name] = {kind: np.array(each) for kind, each in rows.items()}
    return found


class Clip:
    """A video, and its profiles before a fault."""

    def __init__(self, frames: list[np.ndarray]) -> None:
        self._frames = frames
        self._makers = {kind: make() for kind, make in KINDS.items()}
        self._before = self._profiles(frames[:LIVE], 0)

    def _profiles(self, frames: list[np.ndarray], start: int) -> dict[str, list[np.ndarray]]:
        rows: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
        for n, image in enumerate(frames, start):
            for kind, maker in self._makers.items():
                rows[kind].append(maker.profile(image, n / failsafe.RATE))
        return rows

    def spoiled(self, change: failsafe.Change) -> dict[str, np.ndarray]:
        """Return the profiles `[LIVE + FAULTY, F]` of each kind, the last ones with the fault."""
        live = self._frames[:LIVE]
        frames = [change(i, n, live) for n, i in enumerate(self._frames[LIVE : LIVE + FAULTY])]
        after = in_copy(lambda: self._profiles(frames, LIVE))
        return {kind: np.array(before + after[kind]) for kind, before in self._before.items()}


def faulty_videos(shared: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield the fault, and the profiles of each kind, of faulty videos."""
    for frames in failsafe.scenes(next(shared.rglob(f'*{failsafe.CLIP}'))):
        clip = Clip(frames)
        for fault, changes in CHANGES.items():
            for change in changes:
                yield fault, clip.spoiled(change)


def _reported(profiles: np.ndarray, kind: str, limit: float) -> np.ndarray:
    return profiles[:, 0] > 0 if kind == 'health' else alarms(profiles, limit)


def profiles(shared: Path) -> dict:
    """Return false alarms and the delay of each fault, by health and by two kinds of profiles."""
    good, faulty = good_videos(shared), list(faulty_videos(shared))
    names, result = sorted(good), {}
    for kind in KINDS:
        false, cases = 0, []
        for half in (0, 1):
            chosen = [good[name][kind] for name in names[half::2]]
            limit = next(
                (x for x in LIMITS if not any(_reported(p, kind, x).any() for p in chosen)),
                LIMITS[-1],
            )
            held_out = [good[name][kind] for name in names[1 - half :: 2]]
            false += sum(int(_reported(p, kind, limit).sum()) for p in held_out)
            cases += [(f, _reported(found[kind], kind, limit)[LIVE:]) for f, found in faulty]
        total = sum(len(found[kind]) for found in good.values())
        result[kind] = {'false_alarms': f'{false} of {total}', 'faults': _delays(cases)}
    return result


def _delays(cases: list[tuple[str, np.ndarray]]) -> dict:
    """Return the share of detected cases of each fault, and the worst delay of those, frames."""
    found: dict[str, dict] = {}
    for fault in dict.fromkeys(fault for fault, _ in cases):
        delays = [
            int(reported.argmax()) + 1 if reported.any() else None
            for name, reported in cases
            if name == fault
        ]
        known = [delay for delay in delays if delay is not None]
        found[fault] = {
            'detected': round(len(known) / len(delays), 3),
            'frames': max(known, default=None),
        }
    return found


def divergence() -> dict:
    """Return false alarms and the delay of each fault by the divergence of two cameras' maps."""
    limit = max(float(_lasting(Pair(seed).after(None)).max()) for seed in CHOICE_SEEDS)
    false, total, cases = 0, 0, []
    for seed in SEEDS:
        pair = Pair(seed)
        values = _lasting(pair.after(None))[zspace_positions.SETTLE :]
        false, total = false + int((values > limit).sum()), total + len(values)
        for fault, changes in CHANGES.items():
            cases += [(fault, _lasting(pair.after(c))[LIVE:] > limit) for c in changes]
    return {
        'limit': round(limit, 3),
        'false_alarms': f'{false} of {total}',
        'faults': _delays(cases),
    }


def _lasting(values: list[float]) -> np.ndarray:
    """Return what `CONFIRM` successive divergences reach, `[T]`; 0 for the first frames."""
    lasting = np.zeros(len(values))
    windows = np.lib.stride_tricks.sliding_window_view(values, CONFIRM)
    lasting[CONFIRM - 1 :] = windows.min(axis=1)
    return lasting


class Pair:
    """A rendered scene that two cameras see, and the divergence of their maps."""

    def __init__(self, seed: int) -> None:
        scene = zspace_positions.Scene(seed)
        self._times = np.arange(LIVE + FAULTY) / zspace_positions.FPS
        self._views = [[scene.render(t, camera) for t in self._times] for camera in (0, 1)]
        self._projectors = [CueProjector(), CueProjector()]
        self._before = [self._divergence(n, self._views[1][n]) for n in range(LIVE)]

    def after(self, change: failsafe.Change | None) -> list[float]:
        """Return the divergences before and while `change` spoils the second camera."""
        live, later = self._views[1][:LIVE], self._views[1][LIVE:]

        def spoiled() -> list[float]:
            images = [i if change is None else change(i, n, live) for n, i in enumerate(later)]
            return [self._divergence(LIVE + n, image) for n, image in enumerate(images)]

        return self._before + in_copy(spoiled)

    def _divergence(self, index: int, second: np.ndarray) -> float:
        images = self._views[0][index], second
        maps = [
            projector.update(image, self._times[index]).projection
            for projector, image in zip(self._projectors, images, strict=True)
        ]
        return map_divergence(*maps)


def measure(shared: Path) -> dict:
    """Return the figures of both ways; the value is the share of cases that cue profiles find."""
    cv2.setNumThreads(1)
    found = profiles(shared)
    shares = {
        kind: round(float(np.mean([each['detected'] for each in part['faults'].values()])), 3)
        for kind, part in found.items()
    }
    return {
        'value': shares.pop('cues'),
        'baselines': shares,
        'seeds': list(SEEDS),
        'frames_of_a_fault': FAULTY,
        'profiles': found,
        'divergence': divergence(),
    }
