# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the agreement of two cameras: each cue alone, and the fitted sum of all.

The pairs are those of bench/identity.py. `rule` is how often pairs of one thing, and pairs of
other things, agree by the rule of the arbiter: by the cosine of weighted latents above 0.7, and by
the fitted agreement at nominal false positive rates. `matched` is the same after the crops of two
views have been matched one to one, as the arbiter does: the share of crops that agree with the
right one, with a wrong one, and with a wrong one if half of the crops, with all right ones, are
missing in the second view. Results: out/bench/agreement.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from identity import CONDITIONS, groups, sets
from scipy.optimize import linear_sum_assignment

from sage_perception.core.discrimination import auroc, tpr_at_fpr
from sage_perception.core.files import write_atomically
from sage_perception.models import load_codes, load_crop_codec
from sage_perception.trust.fitted import similarity_weights
from sage_perception.trust.fusion import agreement
from sage_perception.trust.fusion.matching import center, cosine_matrix

RATES = (0.005, 0.01, 0.02, 0.05)
THRESHOLD = 0.7
WITH_CODE = 'fitted with code'
Views = tuple[dict[str, np.ndarray], np.ndarray]


def main() -> None:
    """Write the figures, and print the means over the sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='tinyvae')
    parser.add_argument('--code-model', default='semantic_text')
    parser.add_argument('--images', type=Path, default=Path('out/data/images'))
    parser.add_argument('--shared', type=Path, help='folder with stereo_kitti_raw')
    parser.add_argument('--no-code', action='store_true', help='without the codes that are sent')
    parser.add_argument('--out', type=Path, default=Path('out/bench/agreement.json'))
    args = parser.parse_args()
    cv2.setNumThreads(1)
    codec = load_crop_codec(args.model)
    model = agreement.read(codec.artifact.path)
    if model is None:
        raise SystemExit(f'{codec.id} has no fitted agreement: run tools/fit_agreement.py')
    features = features_of(
        codec, model, None if args.no_code else load_codes(args.code_model).identity
    )
    by: dict[str, dict[str, dict[str, float]]] = {}
    for name, pairs in sets(args.images, args.shared).items():
        for condition, found in groups(pairs).items():
            cues = [cues_of(features, model, each.first, each.second) for each in found]
            same = {n: np.concatenate([np.diag(c[n]) for c in cues]) for n in features}
            other = {
                n: np.concatenate([c[n][g.apart] for c, g in zip(cues, found, strict=True)])
                for n in features
            }
            views = [(cue, g.apart) for cue, g in zip(cues, found, strict=True)]
            for cue, figures in measure(model, same, other, views).items():
                by.setdefault(condition, {}).setdefault(cue, {})[name] = figures
    means = {
        condition: {cue: mean(list(figures.values())) for cue, figures in by[condition].items()}
        for condition in CONDITIONS
    }
    write_atomically(args.out, json.dumps({'mean': means, 'by_set': by}, indent=1) + '\n')
    for condition, cues in means.items():
        for cue, figures in cues.items():
            print(condition, cue, json.dumps(figures))


def features_of(
    codec, model: agreement.AgreementModel, identity: Callable | None
) -> dict[str, Callable]:
    """Return functions from crops, uint8 `[N, 64, 64, 3]`, to what each cue compares."""
    mean, weights, head = codec.latent_mean.ravel(), similarity_weights(codec), codec.identity_head

    def latents(crops: np.ndarray) -> np.ndarray:
        return codec.encode(crops.transpose(0, 3, 1, 2).astype(np.float32) / 255)

    found = {
        agreement.LATENT: lambda crops: center(latents(crops), mean, weights),
        agreement.COLOR: lambda crops: model.colors(latents(crops)),
    }
    if head is not None:
        found[agreement.HEAD] = lambda crops: head(latents(crops))
    return found | ({agreement.CODE: identity} if identity else {})


def cues_of(
    features: dict[str, Callable],
    model: agreement.AgreementModel,
    a: np.ndarray,
    b: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return each cue of all pairs of crops, `[N, M]`."""
    compare = {agreement.COLOR: model.color_similarity}
    return {
        name: compare.get(name, cosine_matrix)(feature(a), feature(b))
        for name, feature in features.items()
    }


def measure(
    model: agreement.AgreementModel,
    same: dict[str, np.ndarray],
    other: dict[str, np.ndarray],
    views: list[Views],
) -> dict[str, dict]:
    """Return the figures of each cue alone, of the fits, and of the rules of the arbiter.

    `views` are the cues of all pairs of two views, and which pairs are of other things.
    """
    figures = {name: separation(same[name], other[name]) for name in same}
    latent = agreement.LATENT
    figures[latent]['rule'] = {
        f'cosine {THRESHOLD}': [share(same[latent], THRESHOLD), share(other[latent], THRESHOLD)]
    }
    cosines = [(cues[latent], apart) for cues, apart in views]
    figures[latent]['matched'] = {f'cosine {THRESHOLD}': matched(cosines, THRESHOLD)}
    for fit in model.fits:
        if not set(fit.functions) <= set(same):
            continue
        name = WITH_CODE if agreement.CODE in fit.functions else 'fitted'
        scores = fit.log_ratio(same), fit.log_ratio(other)
        figures[name] = separation(*scores)
        figures[name]['rule'] = {
            str(rate): [share(each, fit.threshold(rate)) for each in scores] for rate in RATES
        }
        ratios = [(fit.log_ratio(cues), apart) for cues, apart in views]
        figures[name]['matched'] = {
            str(rate): matched(ratios, fit.threshold(rate)) for rate in RATES
        }
    return figures


def matched(views: list[tuple[np.ndarray, np.ndarray]], threshold: float) -> list[float]:
    """Return the shares of crops that agree rightly, wrongly, and wrongly without the right one.

    `views` are scores `[N, N]`, those of the same thing on the diagonal, and bool `[N, N]`: which
    pairs are of other things; overlapping regions are neither.
    """
    right = wrong = missing = 0
    for scores, apart in views:
        rows, columns = linear_sum_assignment(scores, maximize=True)
        agree = scores[rows, columns] > threshold
        right += int((agree & (rows == columns)).sum())
        wrong += int((agree & apart[rows, columns]).sum())
        half = np.arange(len(scores)) % 2 == 0
        rows, columns = linear_sum_assignment(scores[np.ix_(~half, half)], maximize=True)
        rows, columns = np.flatnonzero(~half)[rows], np.flatnonzero(half)[columns]
        agree = scores[rows, columns] > threshold
        missing += int((agree & apart[rows, columns]).sum())
    count = sum(len(scores) for scores, _ in views)
    alone = sum(len(scores) // 2 for scores, _ in views)
    return [right / count, wrong / count, missing / max(alone, 1)]


def separation(same: np.ndarray, other: np.ndarray) -> dict:
    """Return how well scores separate the pairs."""
    return {'auroc': auroc(same, other), 'tpr_at_fpr_1pct': tpr_at_fpr(same, other, 0.01)}


def share(values: np.ndarray, threshold: float) -> float:
    """Return the share of values above a threshold."""
    return float((values > threshold).mean())


def mean(figures: list[dict]) -> dict:
    """Return the means of figures, also of those in lists and tables, to 4 decimals."""
    first = figures[0]
    found = {}
    for name, value in first.items():
        values = [each[name] for each in figures]
        if isinstance(value, dict):
            found[name] = mean(values)
        else:
            found[name] = np.round(np.mean(values, axis=0), 4).tolist()
    return found


if __name__ == '__main__':
    main()
