# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compare saliency for still places: `python bench/saliency.py --shared FOLDER`.

Every seventh frame of the clips with masks in FOLDER counts as a still image, as it is and through
two windows that show the object anywhere, because a camera operator keeps it in the middle. Each
method selects four regions, as attention does. By the first one, two and four of them, the shares
of the objects are those that a region shows (as in bench/attention.py), that it overlaps by
IoU ≥ .3, and whose box holds its center: the mean over the clips. Prints a table and writes
out/bench/saliency.json.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from attention_scenes import GOOD_IOU, HEIGHT, WIDTH, masked_clips, shows, square_of
from result_file import add_out, write_result

from sage_perception.core.latent import Roi
from sage_perception.vision import saliency
from sage_perception.vision.crops import square_roi

FOLDERS = 'video_masks_davis', 'video_masks_pumavos_chair'
STEP, WINDOWS = 7, 2
COUNTS = 1, 2, 4
SCALE = 4  # from the working resolution of attention to the frame

Image = tuple[np.ndarray, Roi]


def spectral_residual(image: np.ndarray) -> np.ndarray:
    """Return the evidence of Hou and Zhang, "Saliency detection: a spectral residual" (2007)."""
    found = np.zeros(image.shape[:2], np.float32)
    for channel in cv2.split(image):
        spectrum = np.fft.fft2(channel)
        log = np.log(np.abs(spectrum) + 1e-6)
        residual = log - cv2.blur(log, (3, 3)) + 1j * np.angle(spectrum)
        found += np.abs(np.fft.ifft2(np.exp(residual))).astype(np.float32) ** 2
    return cv2.GaussianBlur(found, (0, 0), saliency.SMOOTHING)


def contrast(image: np.ndarray) -> np.ndarray:
    """Return the distance from the mean color of the image."""
    return np.linalg.norm(cv2.GaussianBlur(image, (0, 0), 1) - image.mean((0, 1)), axis=2)


def by_squares(evidence: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the maps of `signature_saliency` with other evidence than the image signature."""

    def maps(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        small = cv2.resize(image, saliency.SIGNATURE_SIZE, interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(small, cv2.COLOR_BGR2LAB).astype(np.float32)
        return saliency.square_saliency(evidence(lab).astype(np.float32), width, height)

    return maps


METHODS = {
    'image signature': saliency.signature_saliency,
    'spectral residual': by_squares(spectral_residual),
    'contrast': by_squares(contrast),
    'center': by_squares(lambda image: np.ones(image.shape[:2])),
}


def window(image: np.ndarray, item: Roi, rng: np.random.Generator) -> Image:
    """Return a part of an image that shows the center of `item` at a random place, enlarged."""
    share = rng.uniform(0.55, 0.8)
    width, height = round(share * WIDTH), round(share * HEIGHT)
    place = rng.uniform(0.1, 0.9, 2) * (width, height)
    left, top = (np.array(item.center) - place).clip(0, (WIDTH - width, HEIGHT - height)).round()
    cut = image[int(top) : int(top) + height, int(left) : int(left) + width]
    edges = [max(item.x, left) - left, max(item.y, top) - top]
    edges += [min(item.x + item.width - left, width), min(item.y + item.height - top, height)]
    x0, y0, x1, y1 = (round(edge / share) for edge in edges)
    return cv2.resize(cut, (WIDTH, HEIGHT)), Roi(x0, y0, x1 - x0, y1 - y0)


def select(maps: np.ndarray) -> list[Roi]:
    """Return the regions that attention would show one after the other."""
    found = saliency.StillAttention(itertools.count(1))
    regions = found.select(maps, np.ones(maps.shape[1:], np.float32), max(COUNTS))
    return [square_roi((SCALE * r.x, SCALE * r.y), SCALE * r.side, WIDTH, HEIGHT) for r in regions]


def holds(item: Roi, point: tuple[float, float]) -> bool:
    """Return whether the box of an object holds a point."""
    x, y = point
    return 0 <= x - item.x <= item.width and 0 <= y - item.y <= item.height


def shares(method: Callable[[np.ndarray], np.ndarray], images: list[Image]) -> list[float]:
    """Return the shares that are shown, overlapped and pointed at, each by `COUNTS`."""
    found = []
    for image, item in images:
        small = cv2.resize(image, (WIDTH // SCALE, HEIGHT // SCALE), interpolation=cv2.INTER_AREA)
        regions, square = select(method(small)), square_of(item)
        hits = (
            [shows(region, item) for region in regions],
            [region.iou(square) >= GOOD_IOU for region in regions],
            [holds(item, region.center) for region in regions],
        )
        found.append([any(hit[:count]) for hit in hits for count in COUNTS])
    return np.mean(found, axis=0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--shared', type=Path, required=True, help='folder of the clips with masks'
    )
    add_out(parser, 'saliency')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    frames: list[list[Image]] = []
    for folder in FOLDERS:
        for clip in masked_clips(args.shared / folder).values():
            kept = itertools.islice(clip(), 0, None, STEP)
            frames.append([(s.image, item) for s in kept for item in s.objects.values()])
    windows = [[window(*image, rng) for image in clip for _ in range(WINDOWS)] for clip in frames]
    result: dict = {'clips': len(frames), 'images': sum(map(len, frames))}
    for name, clips in (('frames', frames), ('windows', windows)):
        result[name] = {}
        for method, maps in METHODS.items():
            mean = np.mean([shares(maps, images) for images in clips], axis=0).reshape(3, -1)
            rows = dict(zip(('shown', 'iou', 'pointed'), mean.round(3).tolist(), strict=True))
            result[name][method] = rows
            print(f'{name:8}{method:18}{rows}', flush=True)
    write_result(args.out, result)


if __name__ == '__main__':
    main()
