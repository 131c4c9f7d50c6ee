# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""One fusion network for crops, slots, words, sound and the body, with any of them missing.

The network of the part `fusion` with two more kinds of tokens: a color or noun in a voice as the
latent of the model of sound, and the seven slots of the model `slots`, whose regions belong to the
object with the largest IoU, at least .3. Each example has at least one cue, and crops or slots. A
decision is right if the token with the largest weight shows the object meant. `value` has all
five, `missing` one less, beside the best cue that is left alone (`single`, the same network).
Test scenes, forms of sentences and voices are not in the training. `slots_only` are the scenes in
which the object meant has a slot (`covered`: their share); `voice` compares the latent of a
word in a voice as a cue with the word that the model of sound recognizes in it as a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sage_perception.audio.words import WORDS
from sage_perception.core.npz_file import read_or_compute
from sage_perception.models.networks.puzzle.attention import (
    CrossModalAttention,
    FusionConfig,
    SlotTokens,
)
from sage_perception.models.registry import load_slot_encoder
from sage_perception.puzzle.tokens import positions
from sage_perception.slots.segmentation import segment, slot_regions
from sage_perception.slots.video import segment_frames
from sage_perception.training.puzzle.cues import phrases
from sage_perception.training.puzzle.examples import (
    AUDIO,
    TEXT,
    TEXT_DIM,
    TRAINING,
    Batch,
    draw,
)
from sage_perception.training.puzzle.fit import (
    DECODED_WEIGHT,
    FitConfig,
    blurred,
    cue_loss,
    fit_pool,
    select,
)
from sage_perception.training.puzzle.scenes import OBJECTS, SIDE, SceneTokens, render_scene
from sage_perception.training.puzzle.sentences import COLORS, NOUNS, SHAPES, unseen_sentences
from sage_perception.vision.boxes import iou
from translation_parts.cache import cached_file, kept
from translation_parts.fusion import BASE
from translation_parts.scenes import (
    MODELS,
    TEST_SEED,
    TRAIN_SEED,
    encoder,
    mean,
    scenes,
    sentences,
)
from translation_parts.speech import sound_model, utterances

SLOT_SCENES = {False: 480, True: 180}
"""Scenes that are divided among slots, of the training and of the test."""
SLOT_DIM, MIN_IOU = 64, 0.3
POOL, TEST, STEPS = 12_000, 2000, 700
CUE_NAMES = ('text', 'audio', 'body')


class Examples(NamedTuple):
    """Examples of `training.puzzle`, their slots, and which tokens show the object meant.

    `words` has the embedding of the word that is recognized in the sound of each example, 0 for
    none, `[B, 384]`.
    """

    batch: Batch
    slots: SlotTokens
    right: Tensor
    words: Tensor


class SceneSlots(NamedTuple):
    """Slots of scenes `[N, 7, 68]`, which are present `[N, 7]`, and their objects (−1: none)."""

    tokens: np.ndarray
    present: np.ndarray
    shown: np.ndarray


def measure(seeds: Sequence[int]) -> dict:
    """Return the accuracies with all tokens, with one kind missing, and with one cue alone."""
    networks = [trained(seed) for seed in seeds]
    test = examples(True)

    def over_seeds(part: Examples) -> list[float]:
        return [accuracy(network, part) for network in networks]

    whole = over_seeds(test)
    single = {name: mean(over_seeds(only(test, i))) for i, name in enumerate(CUE_NAMES)}
    missing = {}
    for i, name in enumerate(CUE_NAMES):
        left = over_seeds(without_cue(test, i))
        best = max(value for other, value in single.items() if other != name)
        missing[name] = {
            'value': mean(left), 'seeds': left, 'baselines': {'single': best},
            'loss': 100 * (best - mean(left)),
        }  # fmt: skip
    for name, part in (('crops', without_crops(test)), ('slots', without_slots(test))):
        left = over_seeds(part)
        missing[name] = {'value': mean(left), 'seeds': left}
    covered = test.right[:, OBJECTS:].sum(1) > 0
    slots_only = taken(without_crops(test), covered.nonzero()[:, 0])
    by_voice = only(test, AUDIO)
    known = (test.words.abs().sum(1) > 0).float()
    given = torch.zeros_like(by_voice.batch.given)
    given[:, TEXT] = known
    cues = (test.words, *by_voice.batch.cues[1:])
    written = by_voice._replace(batch=by_voice.batch._replace(cues=cues, given=given))
    return {
        'value': mean(whole), 'seeds': whole,
        'baselines': {'chance': 1 / OBJECTS, **single},
        'missing': missing,
        'slots_only': {
            'value': mean(over_seeds(slots_only)), 'covered': float(covered.float().mean()),
            'baselines': {'chance': 1 / OBJECTS},
        },
        'voice': {
            'latent': mean(over_seeds(by_voice)), 'words': mean(over_seeds(written)),
            'baselines': {'chance': 1 / OBJECTS},
        },
    }  # fmt: skip


@torch.inference_mode()
def accuracy(network: CrossModalAttention, part: Examples) -> float:
    """Return the share of examples whose heaviest token shows the object meant."""
    logits = network(*part.batch[:4], part.slots).logits
    best = logits.argmax(1, keepdim=True)
    return float(part.right.gather(1, best).mean())


def only(part: Examples, cue: int) -> Examples:
    """Return examples with one cue alone."""
    given = torch.zeros_like(part.batch.given)
    given[:, cue] = 1
    return part._replace(batch=part.batch._replace(given=given))


def without_cue(part: Examples, cue: int) -> Examples:
    """Return examples without a cue."""
    given = part.batch.given.clone()
    given[:, cue] = 0
    return part._replace(batch=part.batch._replace(given=given))


def without_crops(part: Examples) -> Examples:
    """Return examples without crops."""
    present = torch.zeros_like(part.batch.present)
    return part._replace(batch=part.batch._replace(present=present))


def without_slots(part: Examples) -> Examples:
    """Return examples without slots."""
    return part._replace(slots=part.slots._replace(present=torch.zeros_like(part.slots.present)))


def taken(part: Examples, rows: Tensor) -> Examples:
    """Return the examples with the indices `rows`."""
    slots = SlotTokens(*(each[rows] for each in part.slots))
    return Examples(select(part.batch, rows), slots, part.right[rows], part.words[rows])


@cache
def trained(seed: int) -> CrossModalAttention:
    """Return the network of a seed."""
    path = cached_file(f'tokens_{seed}.pt', __name__, (*MODELS, 'slots', 'audiovae'))
    return kept(path, CrossModalAttention(FusionConfig(slot_dim=SLOT_DIM)), lambda: fit(seed))


def fit(seed: int) -> CrossModalAttention:
    """Return a network trained with random kinds of tokens missing."""
    torch.manual_seed(seed)
    model = CrossModalAttention(FusionConfig(slot_dim=SLOT_DIM))
    pool = examples(False)
    crops = pool.batch.objects.flatten(0, 1)
    slots = pool.slots.tokens[pool.slots.present > 0]
    for name, values in (('token', crops), ('slot', slots)):
        model.get_buffer(f'{name}_mean').copy_(values.mean(0))
        model.get_buffer(f'{name}_std').copy_(values.std(0).clamp(min=1e-3))
    model.standardize(pool.batch.cues, pool.batch.given)

    def loss(rows: Tensor) -> Tensor:
        part = taken(pool, rows)
        batch = blurred(part.batch)
        fused, logits, by_cue = model(*batch[:4], part.slots)
        chosen = logits.log_softmax(1).masked_fill(part.right < 0.5, -1e4).logsumexp(1)
        token, _ = model.decode(fused)
        meant = batch.objects[torch.arange(len(token)), batch.target]
        decoded = (((token - meant) / model.token_std) ** 2).mean()
        return cue_loss(by_cue, part.right, batch.given) - chosen.mean() + DECODED_WEIGHT * decoded

    fit_pool(model, loss, len(pool.right), FitConfig(steps=STEPS, seed=seed))
    return model


@cache
def examples(held_out: bool) -> Examples:
    """Return the examples of the training, with kinds of tokens missing, or those of the test."""
    clean, noisy = sentences()
    rng = np.random.default_rng(51 + held_out)
    there, slots = some_scenes(held_out), scene_slots(held_out)
    if held_out:
        batch = draw(there, phrases(*unseen_sentences(), encoder()), noisy, BASE, TEST, rng)
    else:
        batch = draw(there, clean, noisy, TRAINING, POOL, rng)
    rows, target = batch.scene.numpy(), batch.target.numpy()
    voiced = utterances(held_out)
    named = [utterance_of(int(there.color[r, t]), int(there.shape[r, t]), voiced.words, rng)
             for r, t in zip(rows, target, strict=True)]  # fmt: skip
    chosen = np.array([index if index is not None else 0 for index in named])
    has_sound = np.array([index is not None for index in named])
    given, present = batch.given.clone(), batch.present.clone()
    slots_present = torch.from_numpy(slots.present[rows])
    shows = torch.from_numpy(slots.shown[rows] == target[:, None]).float() * slots_present
    if not held_out:
        has_sound &= rng.random(len(rows)) < 0.6
        alone = torch.from_numpy(has_sound & (rng.random(len(rows)) < 0.4))
        given[alone] = 0
        slots_present[torch.from_numpy(rng.random(len(rows)) < 0.3)] = 0
        hidden = torch.from_numpy(rng.random(len(rows)) < 0.3)
        present[hidden & ((shows * slots_present).sum(1) > 0)] = 0
    given[:, AUDIO] = torch.from_numpy(has_sound).float()
    right = torch.zeros(len(rows), OBJECTS + slots.tokens.shape[1])
    right[torch.arange(len(rows)), batch.target] = present[torch.arange(len(rows)), batch.target]
    right[:, OBJECTS:] = shows * slots_present
    audio = torch.from_numpy(voiced.latents[chosen])
    texts = recognized(voiced.logits)[chosen] * has_sound[:, None]
    words = torch.from_numpy(texts.astype(np.float32))
    batch = batch._replace(
        present=present, cues=(batch.cues[0], audio, batch.cues[2]), given=given
    )  # fmt: skip
    tokens = SlotTokens(torch.from_numpy(slots.tokens[rows]), slots_present)
    return Examples(batch, tokens, right, words)


def utterance_of(
    color: int, shape: int, words: np.ndarray, rng: np.random.Generator
) -> int | None:
    """Return an utterance of the color or of a noun of the shape; None if there is no word."""
    nouns = NOUNS[SHAPES[shape]]
    fitting = np.flatnonzero(np.isin(words, (COLORS[color], *nouns)))
    return int(rng.choice(fitting)) if len(fitting) else None


def recognized(logits: np.ndarray) -> np.ndarray:
    """Return the embeddings of the words that logits have, 0 for none, `[N, 384]`."""
    found = [word if word in WORDS else '' for word, _ in sound_model().recognize(logits)]
    kinds = sorted({*found} - {''})
    embedded = dict(zip(kinds, encoder()(kinds), strict=True))
    silent = np.zeros(TEXT_DIM, np.float32)
    return np.stack([embedded.get(word, silent) for word in found])


def some_scenes(held_out: bool) -> SceneTokens:
    """Return the scenes that have slots."""
    there, count = scenes(held_out), SLOT_SCENES[held_out]
    return SceneTokens(*(getattr(there, field.name)[:count] for field in fields(there)))


@cache
def scene_slots(held_out: bool) -> SceneSlots:
    """Return the slots of scenes; they are kept in a file."""
    path = cached_file(f'slots_{"test" if held_out else "train"}.npz', __name__, ('slots',))
    return SceneSlots(*read_or_compute(path, SceneSlots._fields, lambda: find_slots(held_out)))


def find_slots(held_out: bool) -> SceneSlots:
    """Segment the images of scenes into slots."""
    model = load_slot_encoder('slots')
    rows = []
    for number in range(SLOT_SCENES[held_out]):
        rng = np.random.default_rng((TEST_SEED if held_out else TRAIN_SEED, number))
        image, boxes, _ = render_scene(rng)
        (frame,) = segment_frames(model, [np.ascontiguousarray(image[..., ::-1])])
        rows.append(slots_of(frame.slots, frame.masks, boxes))
    return SceneSlots(*map(np.stack, zip(*rows, strict=True)))


def slots_of(
    slots: np.ndarray, masks: np.ndarray, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the tokens of the slots of a scene, which have a region, and their objects."""
    count = len(slots)
    tokens = np.zeros((count, SLOT_DIM + 4), np.float32)
    present, shown = np.zeros(count, np.float32), np.full(count, -1)
    tokens[:, :SLOT_DIM] = slots
    for region in slot_regions(masks, segment(masks)):
        roi = region.roi
        box = np.array([[roi.x, roi.y, roi.width, roi.height]], float)
        tokens[region.slot, SLOT_DIM:] = positions(box, (SIDE, SIDE))[0]
        present[region.slot] = 1
        overlaps = iou(corners(boxes), corners(box))
        if overlaps.max() >= MIN_IOU:
            shown[region.slot] = int(overlaps.argmax())
    return tokens, present, shown


def corners(boxes: np.ndarray) -> np.ndarray:
    """Return the left, top, right and bottom of boxes with widths and heights, `[N, 4]`."""
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), 1)
