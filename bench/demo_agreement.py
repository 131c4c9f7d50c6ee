# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Show the agreement of the two cameras of the demo over time, before and after the fits.

The clip of the demo and a brighter window of it are the views of two cameras, as in
bench/same_object.py. Attention selects the regions of both. A pair of crops is right if the
regions overlap by 0.4 (intersection over union), and wrong if they do not overlap. `cosine` is
the agreement by weighted latents above 0.7 that the arbiter had before; `fitted` has all cues but
the identity codes; the rest are the default, with regard to the other crops of each image, and
the same with identity codes, which encoders send if their parameter `codes` names them. `found`
is the share of the regions that both cameras show whose crops agree, `wrong` the share of all
crops of the first camera that agree with a wrong one.

Results: out/bench/demo_agreement.json, and a plot by second, out/bench/demo_agreement.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import matplotlib
import numpy as np

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from result_file import add_out, show_result, write_result
from same_object import window_views

from sage_perception.codecs.directions import pack_direction
from sage_perception.core.latent import Code, Latent, LatentKind, ModelId
from sage_perception.core.lct import LCT
from sage_perception.models import load_codes, load_crop_codec
from sage_perception.trust.fitted import similarity_of
from sage_perception.trust.fusion.assignment import matches
from sage_perception.trust.fusion.comparison import Comparer, Comparison

SAME_IOU = 0.4
THRESHOLD, RATE = 0.7, 0.005  # the defaults of the arbiter
COUNTS = ('both', 'found', 'wrong', 'crops')
Compare = Callable[[list[LCT], list[LCT]], Comparison]


@dataclass
class Counts:
    """What one rule finds: a row of `COUNTS` for each image of the clip."""

    seconds: list[float] = field(default_factory=list)
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)

    def note(self, at_s: float, overlaps: np.ndarray, comparison: Comparison) -> None:
        """Add the agreements of two views; `overlaps` `[N, M]` are those of their regions."""
        pairs = [(each.a, each.b) for each in matches(comparison) if each.agrees]
        right = sum(overlaps[pair] >= SAME_IOU for pair in pairs)
        wrong = sum(overlaps[pair] == 0 for pair in pairs)
        both = int((overlaps >= SAME_IOU).any(axis=1).sum()) if overlaps.size else 0
        self.seconds.append(at_s)
        self.rows.append((both, int(right), int(wrong), len(overlaps)))

    def figures(self) -> dict[str, float]:
        """Return the shares over the clip."""
        both, found, wrong, crops = np.sum(self.rows, axis=0)
        return {
            'found': round(found / both, 4),
            'wrong': round(wrong / crops, 4),
            'both': int(both),
            'crops': int(crops),
        }


def main() -> None:
    """Write and print the figures, and write the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('clip', type=Path, help='vtest.avi of tools/fetch_footage.py')
    parser.add_argument('--model', default='tinyvae')
    parser.add_argument('--code-model', default='semantic_small')
    parser.add_argument('--step', type=int, default=5, help='measure each nth image')
    add_out(parser, 'demo_agreement')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    codec, codes = load_crop_codec(args.model), load_codes(args.code_model)
    rules, counts = rules_of(codec), {}
    for at_s, first, second, regions in window_views(args.clip, args.step):
        overlaps = np.array([[r.iou(crop.roi) for r in regions] for crop in first])
        overlaps = overlaps.reshape(len(first), len(second))
        lcts = [lcts_of(codec, None, crops) for crops in (first, second)]
        with_codes = [lcts_of(codec, codes, crops) for crops in (first, second)]
        for name, compare in rules.items():
            views = with_codes if name.endswith('codes') else lcts
            counts.setdefault(name, Counts()).note(at_s, overlaps, compare(*views))
    figures = {name: each.figures() for name, each in counts.items()}
    write_result(args.out, figures)
    plot(counts, args.out.with_suffix('.png'))
    show_result(figures)


def rules_of(codec) -> dict[str, Compare]:
    """Return the rules by name: functions of the LCTs of two images."""
    # A comparer keeps the codes of tracks, which the rules without codes must not have.
    cosine, fitted, coded = (
        similarity_of(codec, THRESHOLD, rate).comparer for rate in (0.0, RATE, RATE)
    )

    def pairs(comparer: Comparer) -> Compare:
        return lambda a, b: comparer.compare(comparer.view('a', a), comparer.view('b', b))

    def images(comparer: Comparer) -> Compare:
        return lambda a, b: comparer.compare(comparer.image('a', a), comparer.image('b', b))

    return {
        'cosine': pairs(cosine),
        'fitted': pairs(fitted),
        'in images': images(fitted),
        'with codes': images(coded),
    }


def lcts_of(codec, codes, crops: list) -> list[LCT]:
    """Return the LCTs of crops, with the identity codes of the model `codes` unless it is None."""
    if not crops:
        return []
    images = np.stack([crop.image for crop in crops])
    latents = codec.encode(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    sent: list[tuple[Code, ...]] = [()] * len(crops)
    if codes is not None:
        space = ModelId(fingerprint=codes.identity_space)
        sent = [
            (Code(LatentKind.IDENTITY, space, 2, pack_direction(code)),)
            for code in codes.identity(images)
        ]
    return [
        lct_of(Latent(z, model=codec.id, roi=crop.roi, track_id=n + 1, codes=own))
        for n, (z, crop, own) in enumerate(zip(latents, crops, sent, strict=True))
    ]


def lct_of(latent: Latent) -> LCT:
    """Return an LCT that is not signed."""
    return LCT.encoded(latent, entity_id='', sequence=0, stamp_ns=0)


def plot(counts: dict[str, Counts], path: Path) -> None:
    """Write a plot of the crops that agree, by second, for each rule."""
    figure, panels = plt.subplots(len(counts), 1, figsize=(9, 2.2 * len(counts)), sharex=True)
    for (name, each), axes in zip(counts.items(), np.atleast_1d(panels), strict=True):
        seconds = np.floor(np.array(each.seconds) - each.seconds[0]).astype(int)
        sums = np.zeros((seconds.max() + 1, len(COUNTS)))
        np.add.at(sums, seconds, np.array(each.rows, float))
        at = np.arange(len(sums))
        both, found, wrong, _ = sums.T
        axes.bar(at, both, color='0.85', label='in both views')
        axes.bar(at, found, color='tab:green', label='agree, right')
        axes.bar(at, -wrong, color='tab:red', label='agree, wrong')
        shares = each.figures()
        axes.set_title(
            f'{name}: {shares["found"]:.0%} found, {shares["wrong"]:.1%} wrong', fontsize=10
        )
        axes.set_ylabel('crops a second')
    np.atleast_1d(panels)[0].legend(loc='upper right', fontsize=8, ncol=3)
    np.atleast_1d(panels)[-1].set_xlabel('seconds')
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == '__main__':
    main()
