# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A model on crops, and on the same crops everything it is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch

from sage_perception.codecs import codebook
from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.evaluation.baselines import Components, downsample, mean_color, thumbnail
from sage_perception.evaluation.image_codecs import CODECS, Encoded, Ladder, require_codecs
from sage_perception.evaluation.scores import Judge, Tree, fidelity
from sage_perception.models import Codec
from sage_perception.training.data.crops import to_model
from sage_perception.training.losses import images as losses
from sage_perception.vision.crops import to_pixels

CURVE = (0, 5, 10, 20, 35, 50, 65, 80, 95)  # quality settings that a rate curve is drawn through
STEPS = (0.1, 0.2, 0.4, 0.8, 1.6)  # of the entropy-coded latent, for its curve
FORMS = ('float32', 'float16', 'int8', 'entropy_int8', 'vq')


class Comparison:
    """Measures a model and its baselines on crops of its input size.

    `latents` are the means of all crops that were measured so far, float32 `[B, D]` each.
    """

    def __init__(self, codec: Codec, components: Components | None, rates: bool = False):
        require_codecs()
        self.codec, self.components, self.rates = codec, components, rates
        self.latents: list[np.ndarray] = []
        self.codebook = codebook.read(codec.artifact.path)
        self.packer = Packer(codec.latent_mean.ravel(), codec.latent_std.ravel(), self.codebook)

    def measure(self, crops: np.ndarray) -> Tree:
        """Return the figures of crops, uint8 RGB `[B, S, S, 3]`, each an array `[B]` by name.

        The model's own are at the top: see `Judge`, and `kl` in nats. `baselines` has what others
        make of as many numbers or bytes, `wire` what is left after packing, `at_int8_bytes` and
        `at_equal_quality` the image codecs at other budgets, `rates` whole curves.
        """
        x = to_model(crops, self.codec.input_channels)
        judge = Judge(x)
        mean, log_var = self.codec.encode_stats(x)
        z = mean.reshape(len(mean), -1)
        self.latents.append(z)
        kl = losses.kl_divergence(torch.from_numpy(mean), torch.from_numpy(log_var))
        kl = kl.flatten(1).sum(1).numpy()
        scores = judge(self.codec.decode(mean))
        numbers = z.shape[1]
        ladders = self._ladders(x)
        tree = {
            **scores,
            'kl': kl,
            'kl_per_dim': kl / numbers,
            'baselines': self._baselines(judge, numbers, ladders),
            'wire': {form: self._packed(form, mean, x) for form in FORMS},
            'at_int8_bytes': {name: self._within(rungs, numbers) for name, rungs in ladders},
            'at_equal_quality': {
                name: self._reaching(rungs, scores['psnr']) for name, rungs in ladders
            },
        }
        if self.rates:
            tree['rates'] = {name: self._curve(rungs) for name, rungs in ladders}
            tree['rates']['entropy_int8'] = self._step_curve(mean, x)
            if self.components is not None:
                tree['rates']['pca'] = self._pca_curve(x)
        return tree

    def _baselines(self, judge: Judge, numbers: int, ladders) -> Tree:
        channels = judge.x.shape[1]
        fewer = channels * math.prod(thumbnail(channels, numbers))
        tree = {
            'mean_color': as_floats(channels, judge(mean_color(judge.x))),
            'downsample': as_floats(fewer, judge(downsample(judge.x, numbers))),
            'pca': None,
        }
        if self.components is not None:
            y = self.components.reconstruct(judge.x, numbers)
            tree['pca'] = as_floats(numbers, judge(y))
        return tree | {name: self._within(rungs, 4 * numbers, judge) for name, rungs in ladders}

    def _ladders(self, x: np.ndarray) -> list[tuple[str, list[Ladder]]]:
        """Return every crop at all settings of each image codec."""
        images = to_pixels(x)
        images = images[..., 0] if images.shape[3] == 1 else images
        return [(name, [Ladder(name, image) for image in images]) for name in CODECS]

    def _packed(self, form: str, mean: np.ndarray, x: np.ndarray, **options) -> Tree | None:
        if form == 'vq' and self.codebook is None:
            return None
        kind = Encoding[form.upper()]
        payloads = [self.packer.pack(z, kind, **options) for z in mean.reshape(len(mean), -1)]
        z = np.stack([self.packer.unpack(payload, kind) for payload in payloads])
        y = self.codec.decode(z.reshape(mean.shape))
        return {'bytes': np.array([len(p) for p in payloads]), **fidelity(y, x)}

    def _within(self, ladders, budget, judge: Judge | None = None) -> Tree:
        chosen = [ladder.within(budget) for ladder in ladders]
        fits = np.array([rung.bytes <= budget for rung in chosen])
        return {'bytes': sizes(chosen), 'fits': fits, **self._seen(chosen, judge)}

    def _reaching(self, ladders, psnr) -> Tree:
        chosen = [ladder.reaching(wanted) for ladder, wanted in zip(ladders, psnr, strict=True)]
        reached = np.array([rung.psnr for rung in chosen]) >= psnr
        return {'bytes': sizes(chosen), 'reached': reached, **self._seen(chosen)}

    def _curve(self, ladders) -> Tree:
        steps = {quality: [ladder[quality] for ladder in ladders] for quality in CURVE}
        return {
            f'quality {quality}': {'bytes': sizes(chosen), **self._seen(chosen)}
            for quality, chosen in steps.items()
        }

    def _step_curve(self, mean: np.ndarray, x: np.ndarray) -> Tree:
        return {f'step {step}': self._packed('entropy_int8', mean, x, step=step) for step in STEPS}

    def _pca_curve(self, x: np.ndarray) -> Tree:
        """Return what PCA makes of ever more numbers, a byte each, rounding them left out."""
        most = self.components.most
        counts = [most >> halvings for halvings in range(6) if most >> halvings >= 4]
        return {
            f'{count} numbers': {
                'bytes': np.full(len(x), count),
                **fidelity(self.components.reconstruct(x, count), x),
            }
            for count in reversed(counts)
        }

    def _seen(self, chosen: Iterable[Encoded], judge: Judge | None = None) -> Tree:
        """Return the scores of images that went through an image codec."""
        pairs = [np.stack([to_planes(rung.picture), to_planes(rung.original)]) for rung in chosen]
        y, x = np.stack(pairs, 1)
        return judge(y) if judge else fidelity(y, x)


def as_floats(numbers: int, scores: Tree) -> Tree:
    """Return scores and what as many numbers take as float32."""
    return {'bytes': np.full(len(scores['psnr']), 4 * numbers), **scores}


def sizes(chosen: Iterable[Encoded]) -> np.ndarray:
    """Return the bytes `[B]` of encoded images."""
    return np.array([rung.bytes for rung in chosen])


def to_planes(image: np.ndarray) -> np.ndarray:
    """Map a uint8 image `[H, W, 3]` or `[H, W]` to float32 `[C, H, W]` in [0, 1]."""
    return np.atleast_3d(image).transpose(2, 0, 1).astype(np.float32) / 255
