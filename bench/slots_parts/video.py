# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slots of generated videos: video FG-ARI, identity behind a bar, prediction of hidden slots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sage_perception.models.networks.slots import TemporalTransformer
from sage_perception.models.networks.slots.temporal import last_visible
from sage_perception.models.registry import load_slot_encoder
from sage_perception.models.slot_encoder import SlotEncoder
from sage_perception.slots.scores import foreground_ari
from sage_perception.slots.sequences import extrapolate, model_batch, slot_sequences
from sage_perception.training.config import read_config
from sage_perception.training.data.objects.pool import scenes
from sage_perception.training.runs import CONFIG, METRICS, load_run
from sage_perception.training.tasks.slot_sequences.task import middle_span

TEST_SEED = 2
BATCH = 10
MIN_AREA = 0.004
"""Area below which the transformer replaces a slot, fraction of the image."""
HISTORY = 24
MIN_FOUND = 0.3
"""IoU of a slot with an object from which the object counts as found."""


def segments(
    model: SlotEncoder,
    videos: np.ndarray,
    carry: bool = True,
    transformer: TemporalTransformer | None = None,
) -> np.ndarray:
    """Return the slot of each pixel of videos, uint8 RGB `[N, T, S, S, 3]`: uint8 `[N, T, S, S]`.

    With a transformer, a slot without area continues as it predicts from the frames before.
    """
    side = videos.shape[2]
    results = []
    for first in range(0, len(videos), BATCH):
        previous: np.ndarray | None = None
        history: list[np.ndarray] = []
        frames = []
        hidden: list[np.ndarray] = []
        for images in videos[first : first + BATCH].swapaxes(0, 1):
            x = model_batch(model, images)
            found = model.encode(x) if previous is None else model.track(x, previous)
            masks = model.decode(found).masks
            step = masks.shape[-1] // side
            owner = masks.argmax(1)[:, step // 2 :: step, step // 2 :: step]
            frames.append(owner.astype(np.uint8))
            slots = found.slots
            if transformer is not None:
                areas = np.stack([(owner == k).mean((1, 2)) for k in range(masks.shape[1])], 1)
                history, hidden = [*history, slots][-HISTORY:], [*hidden, areas < MIN_AREA]
                slots = _continued(model, transformer, history, hidden[-HISTORY:])
                history[-1] = slots
            previous = slots if carry else None
        results.append(np.stack(frames, 1))
    return np.concatenate(results)


def _continued(
    model: SlotEncoder,
    transformer: TemporalTransformer,
    history: list[np.ndarray],
    hidden: list[np.ndarray],
) -> np.ndarray:
    """Return the newest slots `[B, K, D]`, those hidden predicted from the history."""
    normalized = (np.stack(history, 1) - model.latent_mean) / model.latent_std
    unseen = torch.from_numpy(np.stack(hidden, 1))
    with torch.inference_mode():
        predicted = transformer(torch.from_numpy(normalized), unseen, causal=True)
    return (predicted[:, -1].numpy() * model.latent_std + model.latent_mean).astype(np.float32)


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
    carried, single = segments(model, test.image), segments(model, test.image, carry=False)
    flat = (-1, *test.labels.shape[2:])
    carried_ari = mean_ari(test.labels, carried)
    result: dict = {
        'fg_ari': carried_ari,
        'ablations': {
            'no_carry_over': mean_ari(test.labels, single),
            'image_only_by_frame': mean_ari(test.labels.reshape(flat), single.reshape(flat)),
            'no_transformer': carried_ari,
            'transformer': [],
        },
        'occlusion_identity': {
            'carry_over': identity(segments(model, hidden.image), hidden.labels),
            'no_carry_over': identity(segments(model, hidden.image, carry=False), hidden.labels),
            'transformer': [],
        },
        'prediction': [],
    }
    for run in runs:
        if not (run / METRICS).is_file():
            continue
        transformer = load_run(read_config(run / CONFIG), run, TemporalTransformer).eval()
        with_it = segments(model, test.image, transformer=transformer)
        behind = segments(model, hidden.image, transformer=transformer)
        result['ablations']['transformer'].append(mean_ari(test.labels, with_it))
        result['occlusion_identity']['transformer'].append(identity(behind, hidden.labels))
        result['prediction'].append(prediction(model, transformer, test.image))
    if result['ablations']['transformer']:
        result['fg_ari'] = result['ablations']['transformer']
    return result
