# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slots in the graph: crops in still scenes, and the same object in two cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from attention_scenes import HEIGHT, WIDTH, Sample, Score, center_square, masked_clips, shows
from same_object import shown_by_both

from sage_perception.core.discrimination import auroc
from sage_perception.core.latent import Latent, Roi
from sage_perception.models import load_crop_codec
from sage_perception.models.registry import load_slot_encoder
from sage_perception.models.slot_encoder import SlotEncoder
from sage_perception.slots.segmentation import segment
from sage_perception.slots.stream import SlotStream
from sage_perception.slots.video import scaled_input
from sage_perception.trust.fitted import similarity_weights
from sage_perception.trust.fusion.matching import center, cosine_matrix
from sage_perception.vision.attention import Attention
from sage_perception.vision.external_regions import ExternalDetection

FRAMES, SKIPPED, RATE_HZ = 20, 5, 10.0
"""Frames of a still scene, those before the first score, and their rate."""
EVERY = 6
"""One of so many frames of a clip with two views is used."""
MIN_FOUND = 0.3
"""IoU of a slot with an object from which the object counts as found."""
CROPS = 'tinyvae'


def photographs(folder: Path) -> Iterator[Sample]:
    """Yield the first frame of each clip with a moving object, as a still scene."""
    for clip in masked_clips(folder).values():
        sample = next(iter(clip()))
        if sample.objects:
            yield sample


def rendered(folder: Path) -> Iterator[Sample]:
    """Yield the first frame of each rendered clip, of the first camera."""
    for path in sorted(folder.glob('*.npz')):
        with np.load(path) as file:
            image, mask = file['rgb'][0, 0, ..., ::-1], file['mask'][0, 0]
        image = cv2.resize(np.ascontiguousarray(image), (WIDTH, HEIGHT))
        mask = cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
        objects = {
            number: Roi(*(int(v) for v in cv2.boundingRect((mask == number).astype(np.uint8))))
            for number in np.unique(mask[mask > 0]).tolist()
        }
        yield Sample(image, 0.0, objects)


def attended(sample: Sample, model: SlotEncoder | None) -> Iterator[list[Roi]]:
    """Yield the regions of all crops of each frame of a still scene, after `SKIPPED`.

    The slots of a frame arrive before the next one.
    """
    attention = Attention()
    stream = None if model is None else SlotStream(model)
    for number in range(FRAMES):
        stamp_s = number / RATE_HZ
        crops = attention.attend(sample.image, stamp_s)
        if stream is not None:
            slots = stream.update(sample.image, stamp_s).latents
            attention.add_slots(stamp_s, [_detection(each) for each in slots])
        if number >= SKIPPED:
            yield [crop.roi for crop in crops]


def _detection(slot: Latent) -> ExternalDetection:
    """Return the region and trust of a slot as attention takes it."""
    roi = slot.roi
    assert roi is not None  # slots have regions
    box = (roi.x, roi.y, roi.x + roi.width, roi.y + roi.height)
    return ExternalDetection(box, slot.telemetry.trust)


def still(samples: list[Sample], model: SlotEncoder) -> dict[str, dict]:
    """Return the recall of attention without and with slots, and of a fixed square.

    `recall` is over objects and frames, `seen` the share of the objects that any frame shows.
    """
    square = center_square()
    finders: dict[str, Callable[[Sample], Iterator[list[Roi]]]] = {
        'without_slots': lambda sample: attended(sample, None),
        'with_slots': lambda sample: attended(sample, model),
        'center_square': lambda sample: iter([square(sample.image, 0.0)]),
    }
    result = {}
    for name, finder in finders.items():
        score, seen, crops = Score(), 0, 0
        for sample in samples:
            frames = list(finder(sample))
            for regions in frames:
                score.add(sample, regions)
            crops += sum(map(len, frames))
            together = [region for regions in frames for region in regions]
            seen += sum(any(shows(r, item) for r in together) for item in sample.objects.values())
        summary = score.summary()
        result[name] = {
            'recall': summary['recall'],
            'seen': round(seen / sum(len(sample.objects) for sample in samples), 4),
            'crops_per_frame': round(crops / score.frames, 2),
            'others_per_frame': summary['unmarked_per_frame'],
            'scenes': len(samples),
        }
    return result


def best_slots(segments: np.ndarray, mask: np.ndarray, numbers: list[int]) -> np.ndarray:
    """Return the slot with the highest IoU with each object, and that IoU: `[objects, 2]`."""
    rows = []
    for number in numbers:
        truth = mask == number
        overlaps = [
            ((segments == slot) & truth).sum() / ((segments == slot) | truth).sum()
            for slot in range(int(segments.max()) + 1)
        ]
        rows.append((int(np.argmax(overlaps)), max(overlaps)))
    return np.array(rows)


def moments(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield images, uint8 BGR `[2, H, W, 3]`, and masks `[2, H, W]` of two cameras."""
    for path in sorted(folder.glob('*.npz')):
        with np.load(path) as file:
            images, masks = file['rgb'][:, ::EVERY, ..., ::-1], file['mask'][:, ::EVERY]
        yield from zip(
            np.ascontiguousarray(images.swapaxes(0, 1)), masks.swapaxes(0, 1), strict=True
        )


def slots_of_both(
    model: SlotEncoder, views: np.ndarray, masks: np.ndarray, numbers: list[int]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the slots of objects in two views, `[objects, D]` each, and which were found."""
    side = model.input_size
    x = np.stack([scaled_input(view, side, model.input_channels) for view in views])
    slots = model.encode(x)
    decoded = model.decode(slots).masks
    chosen, good = [], np.ones(len(numbers), bool)
    for view, mask in enumerate(masks):
        small = cv2.resize(mask, (side, side), interpolation=cv2.INTER_NEAREST)
        best = best_slots(segment(decoded[view]), small, numbers)
        chosen.append(slots.slots[view, best[:, 0].astype(int)])
        good &= best[:, 1] >= MIN_FOUND
    return chosen, good


def two_views(folder: Path, model: SlotEncoder) -> dict[str, dict]:
    """Return the AUROC of the same object in two views against others of the same moment.

    Of the slot with the highest IoU with each object, and of crops around the objects. Figures
    `found` are those of the objects that a slot overlaps by `MIN_FOUND` in both views.
    """
    codec = load_crop_codec(CROPS)
    weights = similarity_weights(codec)
    spaces = {
        'slots': lambda z: center(z, model.latent_mean),
        'slots_whitened': lambda z: center(z, model.latent_mean, 1 / model.latent_std),
        'crops': lambda z: center(z, codec.latent_mean, weights),
        'crops_identity': codec.identity,
    }
    cosines: dict[str, list[np.ndarray]] = {name: [] for name in spaces}
    found = []
    for views, masks in moments(folder):
        pairs = shown_by_both(views, masks)
        if len(pairs) < 2:
            continue
        slots, good = slots_of_both(model, views, masks, [pair.number for pair in pairs])
        crops = [
            codec.encode(np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 255)
            for crops in zip(*((pair.first, pair.second) for pair in pairs), strict=True)
        ]
        for name, space in spaces.items():
            first, second = slots if name.startswith('slots') else crops
            cosines[name].append(cosine_matrix(space(first), space(second)))
        found.append(good)
    return {
        'objects': sum(map(len, found)),
        'found': int(sum(good.sum() for good in found)),
        **{
            name: {'auroc': _auroc(each, None), 'auroc_found': _auroc(each, found)}
            for name, each in cosines.items()
        },
    }


def _auroc(cosines: list[np.ndarray], kept: list[np.ndarray] | None) -> float | None:
    """Return the AUROC of the diagonals against the rest of matrices, of the kept rows only."""
    if kept is not None:
        cosines = [c[good][:, good] for c, good in zip(cosines, kept, strict=True)]
    same = np.concatenate([np.diag(c) for c in cosines])
    other = np.concatenate([c[~np.eye(len(c), dtype=bool)] for c in cosines])
    return round(auroc(same, other), 4) if len(same) and len(other) else None


def measure(model_name: str, clips: Path, views: Path) -> dict:
    """Return recall in still scenes, and the AUROC of the same object in two views."""
    model = load_slot_encoder(model_name)
    return {
        'still': {
            'photographs': still(list(photographs(clips)), model),
            'rendered': still(list(rendered(views)), model),
        },
        'two_views': two_views(views, model),
    }
