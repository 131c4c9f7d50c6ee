# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the agreement of two cameras: each cue alone, and the fitted sum of all.

The pairs are those of bench/identity.py. Each fit has four rows: the sum for two crops alone; `in
images`, corrected by the ambiguities of both crops, by which crops agree; `posterior`, which also
counts the other candidates of both crops, and which the arbiter publishes; and `matched`, which is
the score in images of the pairs of the one-to-one matching, and less than any score for all
others: a pair that is not matched never agrees.

`rule` is how often pairs of one thing, and pairs of other things, agree by the rule of the arbiter
before the matching: by the cosine of weighted latents above 0.7, and by the fitted agreement at
nominal false positive rates. `after` is the same after the crops of two views have been matched
one to one: the share of crops that agree with the right one, with a wrong one, and with a wrong
one if half of the crops, with all right ones, are missing in the second view. Results:
out/bench/agreement.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from identity import CONDITIONS, groups, sets
from result_file import add_out, write_result
from same_object import Group
from scipy.optimize import linear_sum_assignment

from sage_perception.core.discrimination import auroc, tpr_at_fpr
from sage_perception.models import load_codes, load_crop_codec
from sage_perception.training.trust.agreement import CODE_MODELS
from sage_perception.trust.fitted import similarity_weights
from sage_perception.trust.fusion import agreement
from sage_perception.trust.fusion.matching import center, cosine_matrix
from sage_perception.trust.fusion.rivals import ambiguity, correction, posterior

RATES = (0.005, 0.01, 0.02, 0.05)
THRESHOLD = 0.7
FITTED = 'fitted'
WITH_CODE = {
    agreement.CODE: 'fitted with code',
    agreement.SMALL_CODE: 'fitted with small code',
}
Cues = dict[str, np.ndarray]


@dataclass(frozen=True)
class Views:
    """Cues of the crops of two images, and which pairs are of other things.

    Each is `[N, M]` for the crops of the first image with those of the second, and `[N, N]` and
    `[M, M]` for those of each image; overlapping regions are not of other things.
    """

    cues: Cues
    first: Cues
    second: Cues
    apart: np.ndarray
    apart_first: np.ndarray
    apart_second: np.ndarray

    def in_images(self, fit: agreement.Fit) -> np.ndarray:
        """Return the sums, corrected by the ambiguities of both crops."""
        first = ambiguity(fit.log_ratio(self.first), self.apart_first)
        second = ambiguity(fit.log_ratio(self.second), self.apart_second)
        return fit.log_ratio(self.cues) - correction(first, second)

    def only(self, first: np.ndarray, second: np.ndarray) -> Views:
        """Return the cues if the images show only these crops, bool `[N]` and `[M]`."""
        crossed, ours, theirs = (np.ix_(*each) for each in zip(
            (first, first, second), (second, first, second), strict=True
        ))  # fmt: skip
        return Views(
            _chosen(self.cues, crossed),
            _chosen(self.first, ours),
            _chosen(self.second, theirs),
            self.apart[crossed],
            self.apart_first[ours],
            self.apart_second[theirs],
        )


Score = Callable[[Views], np.ndarray]


def main() -> None:
    """Write the figures, and print the means over the sets and the figures of each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='tinyvae')
    parser.add_argument('--images', type=Path, default=Path('out/data/images'))
    parser.add_argument('--shared', type=Path, help='folder with stereo_kitti_raw')
    parser.add_argument('--no-code', action='store_true', help='without the codes that are sent')
    parser.add_argument('--fit', type=Path, help='folder of agreement.json (default: the model)')
    add_out(parser, 'agreement')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    codec = load_crop_codec(args.model)
    model = agreement.read(args.fit or codec.artifact.path)
    if model is None:
        raise SystemExit(f'{codec.id} has no fitted agreement: run tools/fit_agreement.py')
    used = {} if args.no_code else CODE_MODELS
    identity = {cue: load_codes(name).identity for cue, name in used.items()}
    features = features_of(codec, model, identity)
    by: dict[str, dict[str, dict[str, dict]]] = {}
    for name, pairs in sets(args.images, args.shared).items():
        for condition, found in groups(pairs).items():
            views = [views_of(features, model, each) for each in found]
            for cue, figures in measure(model, views).items():
                by.setdefault(condition, {}).setdefault(cue, {})[name] = figures
    means = {
        condition: {cue: mean(list(figures.values())) for cue, figures in by[condition].items()}
        for condition in CONDITIONS
    }
    write_result(args.out, {'mean': means, 'by_set': by})
    for condition, cues in means.items():
        for cue, figures in cues.items():
            print(condition, cue, json.dumps(figures))
            print('   ', *(
                f'{name} {each["auroc"]:.4f} {each["tpr_at_fpr_1pct"]:.2f}'
                for name, each in by[condition][cue].items()
            ))  # fmt: skip


def features_of(
    codec, model: agreement.AgreementModel, identity: dict[str, Callable]
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
    return found | identity


def views_of(
    features: dict[str, Callable], model: agreement.AgreementModel, found: Group
) -> Views:
    """Return all cues of the crops of two images."""
    crossed, first, second = {}, {}, {}
    for name, feature in features.items():
        compare = model.color_similarity if name == agreement.COLOR else cosine_matrix
        a, b = feature(found.first), feature(found.second)
        crossed[name], first[name], second[name] = compare(a, b), compare(a, a), compare(b, b)
    return Views(crossed, first, second, found.apart, found.apart, found.apart)


def measure(model: agreement.AgreementModel, views: list[Views]) -> dict[str, dict]:
    """Return the figures of each cue alone, of the fits, and of the rules of the arbiter."""
    figures = {name: separation(views, lambda v, n=name: v.cues[n]) for name in views[0].cues}
    latent = agreement.LATENT
    figures[latent] |= rules(views, lambda v: v.cues[latent], {f'cosine {THRESHOLD}': THRESHOLD})
    for fit in model.fits:
        if not set(fit.functions) <= set(views[0].cues):
            continue
        name = next((WITH_CODE[cue] for cue in WITH_CODE if cue in fit.functions), FITTED)

        def alone(views: Views, fit: agreement.Fit = fit) -> np.ndarray:
            return fit.log_ratio(views.cues)

        def in_images(views: Views, fit: agreement.Fit = fit) -> np.ndarray:
            return views.in_images(fit)

        figures[name] = separation(views, alone) | rules(
            views, alone, {str(rate): fit.threshold(rate) for rate in RATES}
        )
        figures[f'{name}, in images'] = separation(views, in_images) | rules(
            views, in_images, {str(rate): fit.threshold(rate, of_images=True) for rate in RATES}
        )
        figures[f'{name}, posterior'] = separation(views, lambda v, f=in_images: posterior(f(v)))
        figures[f'{name}, matched'] = separation(views, lambda v, f=in_images: of_matched(f(v)))
    return figures


def separation(views: list[Views], score: Score) -> dict:
    """Return how well scores separate the pairs of one thing from those of other things."""
    same, other = pairs(views, score)
    return {'auroc': auroc(same, other), 'tpr_at_fpr_1pct': tpr_at_fpr(same, other, 0.01)}


def pairs(views: list[Views], score: Score) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of the pairs of one thing and of other things."""
    scores = [score(each) for each in views]
    same = np.concatenate([np.diag(each) for each in scores])
    return same, np.concatenate([s[v.apart] for s, v in zip(scores, views, strict=True)])


def of_matched(scores: np.ndarray) -> np.ndarray:
    """Return the scores of the pairs of the one-to-one matching, -inf for all others."""
    chosen = linear_sum_assignment(scores, maximize=True)
    found = np.full_like(scores, -np.inf)
    found[chosen] = scores[chosen]
    return found


def rules(views: list[Views], score: Score, thresholds: dict[str, float]) -> dict:
    """Return how often pairs agree before the matching, and crops after it, by threshold."""
    same, other = pairs(views, score)
    return {
        'rule': {name: [share(same, t), share(other, t)] for name, t in thresholds.items()},
        'after': {name: after_matching(views, score, t) for name, t in thresholds.items()},
    }


def after_matching(views: list[Views], score: Score, threshold: float) -> list[float]:
    """Return the shares of crops that agree with the right one, a wrong one, and any if alone."""
    right = wrong = missing = count = alone = 0
    for each in views:
        scores = score(each)
        rows, columns = linear_sum_assignment(scores, maximize=True)
        agree = scores[rows, columns] > threshold
        right += int((agree & (rows == columns)).sum())
        wrong += int((agree & each.apart[rows, columns]).sum())
        count += len(scores)
        half = np.arange(len(scores)) % 2 == 0
        others = each.only(~half, half)
        scores = score(others)
        rows, columns = linear_sum_assignment(scores, maximize=True)
        agree = scores[rows, columns] > threshold
        missing += int((agree & others.apart[rows, columns]).sum())
        alone += len(rows)
    return [right / count, wrong / count, missing / max(alone, 1)]


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


def _chosen(cues: Cues, index: tuple) -> Cues:
    return {name: values[index] for name, values in cues.items()}


if __name__ == '__main__':
    main()
