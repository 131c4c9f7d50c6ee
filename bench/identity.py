# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how well codes separate the same thing from other things, and find it again later.

Pairs are regions of two views of a scene (bench/same_object.py), of which the second is unchanged
(`plain`), cut from a box that is moved by up to 15% and scaled by up to 15% (`jitter`), or moved
and scaled by up to 10% and seen at 0.7 times the exposure with another white balance
(`photometric`). The other things are those of the same two images.

`reid` is recall@1: the code of an object is compared with those of all objects of its kind of
footage at an earlier time. Objects come from clips with masks (--masks, in the layout of DAVIS)
for 0.2, 1 and 2 s, from synthetic worlds for 0.2 to 5 s, and with --clip from people of the clip
of the demo, whose identities were corrected by hand (demo_identities.py), for 1, 2 and 5 s.
`rendered` are tumbling objects of each three clips of --shared, after 6, 12 and 18 images, whose
rate is not known.

`head` is the identity head on the latents of the model, `code` the identity code of semantic_text,
`distilled` that of semantic_small, and `latent_weighted` the latents with their fitted weights.
`A+B` is the mean of the cosines of A and B. `reentry` is the fit by which tracks that come back
are recognized, without and with identity codes; it is made for one camera. `of` names the row of
the main figures: `DEFAULT`, if it is measured.

No image of this benchmark is among the training images of a head; some are among those of TinyVAE.
Results: out/bench/identity.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from demo_identities import galleries, people
from memory import masked
from result_file import add_out, show_result, write_result
from same_object import FILES, SIDES, Group, by_disparity, by_features, group

from sage_perception.core.discrimination import auroc, tpr_at_fpr
from sage_perception.models import load_codec, load_codes, load_semantic
from sage_perception.models.semantic.backbone import load_backbone, to_input
from sage_perception.trust.fitted import similarity_weights
from sage_perception.trust.fusion import agreement
from sage_perception.trust.fusion.matching import center, cosine_matrix
from sage_perception.vision.crops import crop_image, square_roi
from sage_perception.vision.synthetic import SyntheticWorld

CONDITIONS = ('plain', 'jitter', 'photometric')
MAX_MOVE = {'plain': 0.0, 'jitter': 0.15, 'photometric': 0.1}
EXPOSURE, TINT = 0.7, 0.1
KITTI_FRAMES = (0, 3, 6, 9, 12, 15, 18)
REENTRY_FPR = 0.01  # no score depends on it
DEFAULT = 'head+code'
"""The best that 64 bytes beside the latents, which travel anyway, can do."""
GAPS_S = (0.2, 1.0, 2.0, 5.0)
MASK_RATE, MASK_STEP = 24, 8  # Hz; frames between two galleries
RENDERED_START, RENDERED_GAPS, MIN_AREA = 5, (6, 12, 18), 100  # images; pixels
RENDERED_CLIPS = 3  # of which the objects are in one gallery
WORLDS, WORLD_TIMES, OBJECTS, MIN_VISIBLE = 4, 6, 3, 0.5
Code = Callable[[np.ndarray], np.ndarray]
Comparison = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Function from two sets of crops to the similarities of all pairs, `[N, M]`."""


class Footage(NamedTuple):
    """Folder with masks of clips, clip of the demo, and folder with rendered clips, or None."""

    masks: Path | None
    clip: Path | None
    shared: Path | None


def joined(*codes: Code) -> Code:
    """Return a function to vectors whose cosine is the mean of those of `codes`."""

    def every(crops: np.ndarray) -> np.ndarray:
        parts = [code(crops) for code in codes]
        return np.hstack([p / np.linalg.norm(p, axis=1, keepdims=True) for p in parts])

    return every


def by_cosine(code: Code) -> Comparison:
    """Return the comparison of crops by the cosines of their codes."""
    return lambda first, second: cosine_matrix(code(first), code(second))


def by_reentry(name: str, cue: str = '', code: Code | None = None) -> Comparison:
    """Return the comparison by the fit for tracks that come back, with the code of a cue."""
    codec = load_codec(name)
    model = agreement.read(codec.artifact.path, agreement.REENTRY_FILE)
    if model is None:
        raise SystemExit(f'{codec.id} has no fit for re-entry: run tools/fit_reentry.py')
    mean, weights = codec.latent_mean.ravel(), similarity_weights(codec)

    def features(crops: np.ndarray) -> dict[str, np.ndarray]:
        z = codec.encode(crops.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        found = {
            agreement.LATENT: center(z, mean, weights),
            agreement.PALETTE: model.palette(z),
            agreement.HEAD: codec.identity_head(z),
        }
        return found if code is None else found | {cue: code(crops)}

    def compare(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        ours, theirs = features(first), features(second)
        cues = {each: cosine_matrix(ours[each], theirs[each]) for each in ours}
        return model.log_ratios(cues, REENTRY_FPR)[0]

    return compare


def comparisons(name: str, small: str, backbone_size: int) -> dict[str, Comparison]:
    """Return all comparisons of crops, uint8 `[N, 64, 64, 3]`, by name."""
    found = codes(name, small, backbone_size)
    by_codes = {each: by_cosine(code) for each, code in found.items()}
    return by_codes | {
        'reentry': by_reentry(name),
        'reentry+distilled': by_reentry(name, agreement.SMALL_CODE, found['distilled']),
        'reentry+code': by_reentry(name, agreement.CODE, found['code']),
    }


def codes(name: str, small: str, backbone_size: int) -> dict[str, Code]:
    """Return functions from crops, uint8 `[N, 64, 64, 3]`, to vectors to compare by cosine."""
    codec, backbone, semantic = load_codec(name), load_backbone(), load_semantic()
    distilled = load_codes(small).identity

    def latents(crops: np.ndarray) -> np.ndarray:
        return codec.encode(crops.transpose(0, 3, 1, 2).astype(np.float32) / 255)

    def efficientnet(crops: np.ndarray) -> np.ndarray:
        outputs = backbone(to_input(crops, backbone_size))
        parts = [outputs['map16'], outputs['features']]
        return np.hstack([p / np.linalg.norm(p, axis=1, keepdims=True) for p in parts])

    def head(crops: np.ndarray) -> np.ndarray:
        return codec.identity(latents(crops))

    weights = similarity_weights(codec)
    return {
        'head': head,
        'distilled': distilled,
        'head+distilled': joined(head, distilled),
        'head+code': joined(head, semantic.identity),
        'distilled+code': joined(distilled, semantic.identity),
        'head+distilled+code': joined(head, distilled, semantic.identity),
        'latent': lambda crops: latents(crops) - codec.latent_mean,
        'latent_weighted': lambda crops: center(latents(crops), codec.latent_mean, weights),
        'code': semantic.identity,
        'efficientnet': efficientnet,
        'thumbnail': thumbnail,
        'histogram': histogram,
    }


def thumbnail(crops: np.ndarray) -> np.ndarray:
    """Return 8×8 means minus their overall mean, `[N, 192]`."""
    small = crops.reshape(len(crops), 8, 8, 8, 8, 3).mean((2, 4)).reshape(len(crops), -1)
    return small - small.mean(1, keepdims=True)


def histogram(crops: np.ndarray) -> np.ndarray:
    """Return the square roots of color histograms, `[N, 512]`: the cosine is that of Hellinger."""
    bins = (crops.reshape(len(crops), -1, 3) >> 5).astype(np.int64) @ np.array([64, 8, 1])
    return np.sqrt(np.stack([np.bincount(row, minlength=512) for row in bins]))


def jittered(matches: Iterator, side: float, move: float, rng: np.random.Generator) -> Iterator:
    """Yield matches with the second box moved and scaled by up to the share `move`."""
    for xa, ya, xb, yb, scale in matches:
        dx, dy = rng.uniform(-move, move, 2) * side * scale
        yield xa, ya, xb + dx, yb + dy, scale * np.exp(rng.uniform(-move, move))


def darkened(crops: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return crops at another exposure and white balance, which all crops of a camera share."""
    gain = EXPOSURE * np.exp(rng.uniform(-TINT, TINT, 3))
    return (crops * gain).clip(0, 255).astype(np.uint8)


def sets(images: Path, shared: Path | None) -> dict[str, list[tuple[Path, Path, Callable]]]:
    """Return the pairs of images of each set with the function that finds their matches."""
    matches = [sorted(images.rglob(f'*{name}')) for name in FILES[:8]]
    for name, paths in zip(FILES, matches, strict=False):
        if not paths:
            raise SystemExit(f'{images} has no {name}: run python tools/fetch_images.py')
    files = [paths[0] for paths in matches]
    how = (by_disparity, by_disparity, by_features, by_features)
    names = ('motorcycle', 'aloe', 'leuven', 'graffiti')
    found = {
        name: [(files[2 * i], files[2 * i + 1], each)]
        for i, (name, each) in enumerate(zip(names, how, strict=True))
    }
    if shared is not None:
        kitti = shared / 'stereo_kitti_raw'
        paths = [[kitti / s / f'{n:010d}.jpg' for s in ('left', 'right')] for n in KITTI_FRAMES]
        found['kitti'] = [(a, b, by_disparity) for a, b in paths if a.is_file()]
        if not found['kitti']:
            raise SystemExit(f'--shared: {kitti} has no images, such as {paths[0][0]}')
    return found


def groups(pairs: list[tuple[Path, Path, Callable]]) -> dict[str, list[Group]]:
    """Return the groups of regions of image pairs by condition."""
    found: dict[str, list[Group]] = {name: [] for name in CONDITIONS}
    rng = np.random.default_rng(7)
    for first, second, how in pairs:
        a, b = cv2.imread(str(first)), cv2.imread(str(second))
        for side in SIDES:
            matches = list(how(a, b, side))
            for condition in CONDITIONS:
                moved = jittered(iter(matches), side, MAX_MOVE[condition], rng)
                one = group(a, b, moved, side)
                if one is None:
                    continue
                if condition == 'photometric':
                    one = Group(one.first, darkened(one.second, rng), one.places, one.side)
                found[condition].append(one)
    return found


def separation(found: list[Group], compare: Comparison) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarities of same and of other pairs."""
    same, other = [], []
    for each in found:
        scores = compare(each.first, each.second)
        same.append(np.diag(scores))
        other.append(scores[each.apart])
    return np.concatenate(same), np.concatenate(other)


def mask_moments(folder: Path) -> dict[int, dict[str, np.ndarray]]:
    """Return the crops of annotated objects by frame and object."""
    moments: dict[int, dict[str, np.ndarray]] = {}
    for masks in sorted((folder / 'Annotations').iterdir()):
        for frame, number, crop, _ in masked(folder / 'JPEGImages' / masks.name, masks):
            moments.setdefault(frame, {})[f'{masks.name}/{number}'] = crop
    return moments


def world_moments() -> Iterator[dict[float, dict[str, np.ndarray]]]:
    """Yield, for several start times, the crops of the objects of worlds by gap and object."""
    worlds = [
        SyntheticWorld(seed=50 + seed, objects=OBJECTS, period_s=20.0) for seed in range(WORLDS)
    ]
    for start in range(WORLD_TIMES):
        moments: dict[float, dict[str, np.ndarray]] = {}
        for gap in (0.0, *GAPS_S):
            at = 3.1 * start + gap
            for number, world in enumerate(worlds):
                image = world.render(at, frame_noise_seed=int(at * 10))
                for thing in world.truth(at):
                    if thing.visible < MIN_VISIBLE:
                        continue
                    side = min(1.2 * max(thing.roi.width, thing.roi.height), *image.shape[:2])
                    roi = square_roi(thing.roi.center, side, world.width, world.height)
                    crop = crop_image(image, roi, 64, 'rgb')
                    moments.setdefault(gap, {})[f'{number}/{thing.id}'] = crop
        yield moments


def rendered_moments(paths: list[Path]) -> dict[int, dict[str, np.ndarray]]:
    """Return the crops of the objects of rendered clips by the number of the image and object."""
    moments: dict[int, dict[str, np.ndarray]] = {}
    for path in paths:
        with np.load(path) as file:
            images, masks = file['rgb'][0], file['mask'][0]
        for frame in (RENDERED_START, *(RENDERED_START + gap for gap in RENDERED_GAPS)):
            image, mask = np.ascontiguousarray(images[frame, ..., ::-1]), masks[frame]
            for number in np.unique(mask[mask > 0]):
                x, y, width, height = cv2.boundingRect((mask == number).astype(np.uint8))
                if width * height < MIN_AREA:
                    continue
                side = min(1.2 * max(width, height), *mask.shape)
                roi = square_roi((x + width / 2, y + height / 2), side, *mask.shape[::-1])
                crop = crop_image(image, roi, 64, 'rgb')
                moments.setdefault(frame, {})[f'{path.stem}/{number}'] = crop
    return moments


def recall(
    gallery: dict[str, np.ndarray], later: dict[str, np.ndarray], compare: Comparison
) -> list[bool]:
    """Return for each object of `later` that the gallery holds whether it is the most similar."""
    names, asked = list(gallery), [name for name in later if name in gallery]
    if len(names) < 8 or not asked:
        return []
    asked_crops = np.stack([later[name] for name in asked])
    scores = compare(asked_crops, np.stack(list(gallery.values())))
    return [names[best] == name for name, best in zip(asked, scores.argmax(1), strict=True)]


def reid(footage: Footage, compare: Comparison) -> dict[str, dict[str, float]]:
    """Return recall@1 by kind of footage and gap in seconds; `rendered`: in images."""
    masks, clip, shared = footage
    right: dict[str, dict[str, list[bool]]] = {'masks': {}, 'synthetic': {}, 'rendered': {}}
    if masks is not None:
        moments = mask_moments(masks)
        for gap in GAPS_S:
            frames = range(0, max(moments), MASK_STEP)
            later = ((f, f + round(gap * MASK_RATE)) for f in frames)
            hits = [recall(moments[a], moments[b], compare) for a, b in later if b in moments]
            right['masks'][f'{gap:g}'] = [hit for some in hits for hit in some]
    if clip is not None:
        seen = people(clip)
        right['demo'] = {
            f'{gap:g}': [hit for both in galleries(seen, gap) for hit in recall(*both, compare)]
            for gap in GAPS_S
        }
    if shared is not None:
        clips = sorted((shared / 'synth_pybullet_two_view').glob('*.npz'))
        for start in range(0, len(clips), RENDERED_CLIPS):
            moments = rendered_moments(clips[start : start + RENDERED_CLIPS])
            first = moments.get(RENDERED_START, {})
            for gap in RENDERED_GAPS:
                hits = recall(first, moments.get(RENDERED_START + gap, {}), compare)
                right['rendered'].setdefault(str(gap), []).extend(hits)
    for moments in world_moments():
        for gap in GAPS_S:
            hits = recall(moments[0.0], moments[gap], compare)
            right['synthetic'].setdefault(f'{gap:g}', []).extend(hits)
    return {
        kind: {gap: round(float(np.mean(hits)), 3) for gap, hits in by_gap.items() if hits}
        for kind, by_gap in right.items()
    }


def measure(
    compare: Comparison, found: dict[str, dict[str, list[Group]]], footage: Footage
) -> dict:
    """Return all figures of one comparison."""
    scores = {
        each: {c: separation(by_condition[c], compare) for c in CONDITIONS}
        for each, by_condition in found.items()
    }
    crops = next(iter(found.values()))['plain'][0].first
    compare(crops, crops[:1])
    start = time.thread_time()
    compare(crops, crops[:1])
    elapsed = (time.thread_time() - start) / (len(crops) + 1)

    def table(figure) -> dict:
        return {
            c: {each: round(figure(*by[c]), 4) for each, by in scores.items()} for c in CONDITIONS
        }

    return {
        'auroc': table(auroc),
        'tpr_at_fpr_1pct': table(lambda same, other: tpr_at_fpr(same, other, 0.01)),
        'reid': reid(footage, compare),
        'ms_per_crop': round(1e3 * elapsed, 3),
    }


def mean(table: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the mean over the sets by condition."""
    return {c: round(float(np.mean(list(by.values()))), 4) for c, by in table.items()}


def main() -> None:
    """Write the figures, and print the main ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='tinyvae')
    parser.add_argument('--small', default='semantic_small', help='network of the row distilled')
    parser.add_argument('--images', type=Path, default=Path('out/data/images'))
    parser.add_argument('--shared', type=Path, help='folder with stereo_kitti_raw and others')
    parser.add_argument('--masks', type=Path, help='folder with Annotations and JPEGImages')
    parser.add_argument('--clip', type=Path, help='vtest.avi of the demo')
    parser.add_argument('--size', type=int, default=144, help='input side of EfficientNet, pixels')
    parser.add_argument('--codes', nargs='+', help='measure only these')
    add_out(parser, 'identity')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    found = {name: groups(pairs) for name, pairs in sets(args.images, args.shared).items()}
    every = comparisons(args.model, args.small, args.size)
    chosen = args.codes or list(every)
    footage = Footage(args.masks, args.clip, args.shared)
    by = {name: measure(every[name], found, footage) for name in chosen}
    of = DEFAULT if DEFAULT in by else next(iter(by))
    main_code = by[of]
    kinds = main_code['reid']
    figures = {
        'of': of,
        'auroc': mean(main_code['auroc']),
        'by': by,
        'tpr_at_fpr_1pct': mean(main_code['tpr_at_fpr_1pct']),
        'reid': {
            gap: kinds.get('masks' if gap in ('0.2', '1') else 'synthetic', {}).get(gap)
            for gap in ('0.2', '1', '2', '5')
        },
        'baselines': {
            name: {'auroc': mean(by[name]['auroc']), 'reid': by[name]['reid']}
            for name in ('latent', 'latent_weighted', 'thumbnail', 'histogram', 'efficientnet')
            if name in by
        },
        'ms_per_crop': main_code['ms_per_crop'],
        'pairs': {
            name: {c: sum(len(g.first) for g in some) for c, some in by_condition.items()}
            for name, by_condition in found.items()
        },
    }
    write_result(args.out, figures)
    for name, each in by.items():
        print(name, mean(each['auroc']), mean(each['tpr_at_fpr_1pct']), each['reid'])
    show_result({key: figures[key] for key in ('auroc', 'tpr_at_fpr_1pct', 'reid')})


if __name__ == '__main__':
    main()
