# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slots of generated videos: video FG-ARI, identity behind a bar, prediction of hidden slots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from sage_perception.core.settings import build
from sage_perception.models.networks.slots import SlotsConfig, TemporalTransformer
from sage_perception.models.networks.slots.temporal import last_visible
from sage_perception.models.registry import load_slot_encoder
from sage_perception.models.slot_encoder import SlotEncoder
from sage_perception.slots.hidden import HiddenSlots, Prediction, constant_velocity, last_seen
from sage_perception.slots.linking import SlotLinker
from sage_perception.slots.scores import foreground_ari
from sage_perception.slots.sequences import extrapolate, model_batch, slot_sequences
from sage_perception.training.config import read_config
from sage_perception.training.data.objects.moving import FRAMES
from sage_perception.training.data.objects.pool import scenes
from sage_perception.training.runs import CONFIG, METRICS, load_run
from sage_perception.training.tasks.slot_sequences.task import middle_span
from slots_parts.baselines import mixture

TEST_SEED = 2
BATCH, TOGETHER = 10, 40
"""Videos, and single frames, that are divided together."""
MIN_FOUND = 0.3
"""IoU of a slot with an object from which the object counts as found."""


def segments(
    model: SlotEncoder, videos: np.ndarray, predict: Prediction | None = None
) -> np.ndarray:
    """Return the slot of each pixel of videos, uint8 RGB `[N, T, S, S, 3]`: uint8 `[N, T, S, S]`.

    With `predict`, the slots of hidden objects continue as it predicts (`HiddenSlots`).
    """
    side = videos.shape[2]
    results = []
    for first in range(0, len(videos), BATCH):
        previous: np.ndarray | None = None
        hidden = None if predict is None else HiddenSlots(predict)
        frames = []
        for images in videos[first : first + BATCH].swapaxes(0, 1):
            x = model_batch(model, images)
            found = model.encode(x) if previous is None else model.track(x, previous)
            masks = model.decode(found, x).masks
            frames.append(owners(masks, side))
            slots = found.slots
            previous = slots if hidden is None else hidden.update(slots, masks, x)
        results.append(np.stack(frames, 1))
    return np.concatenate(results)


class Alone(NamedTuple):
    """The frames of a video, each divided alone: slots `[T, K, D]`, masks and images."""

    slots: np.ndarray
    masks: np.ndarray
    x: np.ndarray


def each_alone(model: SlotEncoder, videos: np.ndarray) -> list[Alone]:
    """Return the divisions of videos, uint8 RGB `[N, T, S, S, 3]`, frame by frame."""
    frames = videos.reshape(-1, *videos.shape[2:])
    parts = []
    for first in range(0, len(frames), TOGETHER):
        x = model_batch(model, frames[first : first + TOGETHER])
        found = model.encode(x)
        parts.append(Alone(found.slots, model.decode(found, x).masks, x))
    joined = [
        np.concatenate(part).reshape(*videos.shape[:2], *part[0].shape[1:])
        for part in zip(*parts, strict=True)
    ]
    return [Alone(*video) for video in zip(*joined, strict=True)]


def without_network(model: SlotEncoder, videos: np.ndarray) -> Iterator[Alone]:
    """Yield the same without the network: refined cells of the colors that differ most."""
    regions = mixture(build(SlotsConfig, model.artifact.config))
    for images in videos:
        masks = np.eye(model.slot_count, dtype=np.float32)[regions(images)].transpose(0, 3, 1, 2)
        slots = np.zeros((len(images), model.slot_count, model.latent_dim), np.float32)
        yield Alone(slots, masks, model_batch(model, images))


def alone_segments(videos: Iterable[Alone], side: int) -> np.ndarray:
    """Return the slot of each pixel, uint8 `[N, T, side, side]`, of slots that are not linked."""
    return np.stack([owners(video.masks, side) for video in videos])


def linked_segments(model: SlotEncoder, videos: Iterable[Alone], side: int) -> np.ndarray:
    """Return the same of slots that `SlotLinker` links."""
    results = []
    for video in videos:
        linker = SlotLinker(model.refinement)
        masks = [linker.link(*frame).masks for frame in zip(*video, strict=True)]
        results.append(owners(np.stack(masks), side))
    return np.stack(results)


def owners(masks: np.ndarray, side: int) -> np.ndarray:
    """Return the slot of each pixel of masks `[N, K, S, S]`, uint8 `[N, side, side]`."""
    step = masks.shape[-1] // side
    return masks.argmax(1)[:, step // 2 :: step, step // 2 :: step].astype(np.uint8)


def by_transformer(model: SlotEncoder, transformer: TemporalTransformer) -> Prediction:
    """Return the causal prediction of hidden slots of a model by a transformer."""

    def predict(slots: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        slots, hidden = slots[:, -FRAMES:], hidden[:, -FRAMES:]
        normalized = ((slots - model.latent_mean) / model.latent_std).astype(np.float32)
        with torch.inference_mode():
            found = transformer(
                torch.from_numpy(normalized), torch.from_numpy(hidden), causal=True
            )
        return (found[:, -1].numpy() * model.latent_std + model.latent_mean).astype(np.float32)

    return predict


def mean_ari(truth: np.ndarray, found: np.ndarray) -> float:
    """Return the mean FG-ARI of labelings `[N, …]`."""
    scores = [foreground_ari(*pair) for pair in zip(truth, found, strict=True)]
    return round(float(np.mean([score for score in scores if score is not None])), 4)


def identity(found: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return how often object 1 has the same slot before and after it was hidden.

    `same` counts videos in which a slot covers the object, with an IoU of `MIN_FOUND`, in the last
    frame in which it is whole before it is hidden; `found` is their share.
    """
    same, count = 0, 0
    for owner, truth in zip(found, labels, strict=True):
        areas = (truth == 1).sum((1, 2))
        gone = np.flatnonzero(areas == 0)
        whole = areas >= 0.9 * areas.max()
        before = np.flatnonzero(whole[: gone[0]])[-1]
        after = gone[-1] + 1 + np.flatnonzero(whole[gone[-1] + 1 :])[0]
        slot, overlap = best_slot(owner[before], truth[before] == 1)
        if overlap >= MIN_FOUND:
            count += 1
            same += slot == best_slot(owner[after], truth[after] == 1)[0]
    return {
        'same': round(same / count, 4) if count else 0.0,
        'found': round(count / len(found), 4),
        'videos': len(found),
    }


def best_slot(owner: np.ndarray, mask: np.ndarray) -> tuple[int, float]:
    """Return the slot with the largest IoU with a mask, and the IoU."""
    slots = range(int(owner.max()) + 1)
    scores = [((owner == k) & mask).sum() / max(((owner == k) | mask).sum(), 1) for k in slots]
    return int(np.argmax(scores)), float(max(scores))


def prediction(
    model: SlotEncoder, transformer: TemporalTransformer, videos: np.ndarray
) -> dict[str, float]:
    """Return the mean squared error of hidden normalized slots: 12 frames, every third slot."""
    slots = (slot_sequences(model, videos) - model.latent_mean) / model.latent_std
    hidden = middle_span(slots.shape[:3])
    x, unseen = torch.from_numpy(slots), torch.from_numpy(hidden)
    with torch.inference_mode():
        guesses = {
            'transformer': transformer(x, unseen).numpy(),
            'causal': transformer(x, unseen, causal=True).numpy(),
            'last_seen': last_visible(x, unseen, transformer.hidden).numpy(),
            'linear': extrapolate(slots, hidden),
        }
    return {
        name: round(float(np.square(guess - slots)[hidden].mean()), 4)
        for name, guess in guesses.items()
    }


def measure(model_name: str, runs: list[Path], count: int) -> dict:
    """Return the figures of a slot model, with the temporal transformer of each run."""
    model = load_slot_encoder(model_name)
    test = scenes('moving_sprites', count, TEST_SEED)
    hidden = scenes('occluded_sprites', count, TEST_SEED)
    predictions: dict[str, Prediction | None] = {
        'no_transformer': None,
        'last_seen': last_seen,
        'constant_velocity': constant_velocity,
    }
    ablations: dict = {}
    occlusion: dict = {}
    for name, predict in predictions.items():
        ablations[name] = mean_ari(test.labels, segments(model, test.image, predict=predict))
        found = segments(model, hidden.image, predict=predict)
        occlusion[name] = identity(found, hidden.labels)
    side = test.labels.shape[-1]
    alone, behind = each_alone(model, test.image), each_alone(model, hidden.image)
    single = alone_segments(alone, side)
    flat = (-1, side, side)
    ablations['no_carry_over'] = mean_ari(test.labels, single)
    ablations['image_only_by_frame'] = mean_ari(test.labels.reshape(flat), single.reshape(flat))
    occlusion['no_carry_over'] = identity(alone_segments(behind, side), hidden.labels)
    for name, videos, occluded in (
        ('linked', alone, behind),
        ('linked_without_network', *(without_network(model, s.image) for s in (test, hidden))),
    ):
        ablations[name] = mean_ari(test.labels, linked_segments(model, videos, side))
        occlusion[name] = identity(linked_segments(model, occluded, side), hidden.labels)
    result: dict = {'ablations': ablations, 'occlusion_identity': occlusion, 'prediction': []}
    with_it: list[float] = []
    occlusion['transformer'] = []
    for run in runs:
        if not (run / METRICS).is_file():
            continue
        transformer = load_run(read_config(run / CONFIG), run, TemporalTransformer).eval()
        predict = by_transformer(model, transformer)
        with_it.append(mean_ari(test.labels, segments(model, test.image, predict=predict)))
        found = segments(model, hidden.image, predict=predict)
        occlusion['transformer'].append(identity(found, hidden.labels))
        result['prediction'].append(prediction(model, transformer, test.image))
    ablations['transformer'] = with_it
    return {'fg_ari': ablations['linked'], **result}
