# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compare a model with baselines and image codecs on the same crops."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from sage_perception.codecs import codebook
from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.evaluation.baselines import (
    Components,
    downsample,
    mean_color,
    thumbnail_size,
)
from sage_perception.evaluation.image_codecs import (
    CODECS,
    EncodedImage,
    QualityLadder,
    require_codecs,
)
from sage_perception.evaluation.scores import Scorer, Scores, fidelity
from sage_perception.models import Codec
from sage_perception.models.networks.divergence import kl_divergence
from sage_perception.training.data.images import to_model
from sage_perception.vision.crops import to_pixels

CURVE = (0, 5, 10, 20, 35, 50, 65, 80, 95)
"""Quality settings of the rate curves of image codecs."""
STEPS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Quantization steps of the rate curve of the entropy-coded latent."""
ENCODINGS = ('float32', 'float16', 'int8', 'entropy_int8', 'vq')

Ladders = list[tuple[str, list[QualityLadder]]]


class Comparison:
    """Scores a model and its baselines on crops of its input size.

    `latents` are the means of all crops that were scored, one float32 `[B, D]` per batch. With
    `rates` the scores include rate curves.
    """

    def __init__(self, codec: Codec, components: Components | None, rates: bool = False):
        require_codecs()
        self.codec, self.components, self.rates = codec, components, rates
        self.latents: list[np.ndarray] = []
        self.codebook = codebook.read(codec.artifact.path)
        self.packer = Packer(codec.latent_mean.ravel(), codec.latent_std.ravel(), self.codebook)

    def measure(self, crops: np.ndarray) -> Scores:
        """Return the scores of crops, uint8 RGB `[B, S, S, 3]`.

        The scores of the model are at the top level: those of `Scorer`, and `kl` in nats.
        `baselines` have as many values or bytes as the latent, `encoding` is the quality after
        each encoding, `at_int8_bytes` and `at_equal_quality` are image codecs at other budgets,
        and `rates` are curves.
        """
        x = to_model(crops, self.codec.input_channels)
        scorer = Scorer(x)
        mean, log_var = self.codec.encode_stats(x)
        z = mean.reshape(len(mean), -1)
        self.latents.append(z)
        divergence = kl_divergence(torch.from_numpy(mean), torch.from_numpy(log_var))
        kl = divergence.flatten(1).sum(1).numpy()
        own = scorer(self.codec.decode(mean))
        dims = z.shape[1]
        ladders = self._ladders(x)
        scores = {
            **own,
            'kl': kl,
            'kl_per_dim': kl / dims,
            'baselines': self._baselines(scorer, dims, ladders),
            'encoding': {name: self._packed(name, mean, x) for name in ENCODINGS},
            'at_int8_bytes': {name: self._within(each, dims) for name, each in ladders},
            'at_equal_quality': {
                name: self._reaching(each, own['psnr']) for name, each in ladders
            },
        }
        if self.rates:
            rates: Scores = {name: self._curve(each) for name, each in ladders}
            rates['entropy_int8'] = self._step_curve(mean, x)
            if self.components is not None:
                rates['pca'] = self._pca_curve(self.components, x)
            scores['rates'] = rates
        return scores

    def _baselines(self, scorer: Scorer, values: int, ladders: Ladders) -> Scores:
        channels = scorer.x.shape[1]
        downsampled = channels * math.prod(thumbnail_size(channels, values))
        scores: Scores = {
            'mean_color': with_bytes(channels, scorer(mean_color(scorer.x))),
            'downsample': with_bytes(downsampled, scorer(downsample(scorer.x, values))),
            'pca': None,
        }
        if self.components is not None:
            y = self.components.reconstruct(scorer.x, values)
            scores['pca'] = with_bytes(values, scorer(y))
        return scores | {name: self._within(each, 4 * values, scorer) for name, each in ladders}

    def _ladders(self, x: np.ndarray) -> Ladders:
        images = to_pixels(x)
        images = images[..., 0] if images.shape[3] == 1 else images
        return [(name, [QualityLadder(name, image) for image in images]) for name in CODECS]

    def _packed(
        self, encoding: str, mean: np.ndarray, x: np.ndarray, **options: Any
    ) -> Scores | None:
        if encoding == 'vq' and self.codebook is None:
            return None
        kind = Encoding[encoding.upper()]
        payloads = [self.packer.pack(z, kind, **options) for z in mean.reshape(len(mean), -1)]
        z = np.stack([self.packer.unpack(payload, kind) for payload in payloads])
        y = self.codec.decode(z.reshape(mean.shape))
        return {'bytes': np.array([len(p) for p in payloads]), **fidelity(y, x)}

    def _within(
        self, ladders: Sequence[QualityLadder], budget: int, scorer: Scorer | None = None
    ) -> Scores:
        chosen = [ladder.within(budget) for ladder in ladders]
        fits = np.array([image.bytes <= budget for image in chosen])
        return {'bytes': sizes(chosen), 'fits': fits, **self._scored(chosen, scorer)}

    def _reaching(self, ladders: Sequence[QualityLadder], psnr: np.ndarray) -> Scores:
        chosen = [ladder.reaching(target) for ladder, target in zip(ladders, psnr, strict=True)]
        reached = np.array([image.psnr for image in chosen]) >= psnr
        return {'bytes': sizes(chosen), 'reached': reached, **self._scored(chosen)}

    def _curve(self, ladders: Sequence[QualityLadder]) -> Scores:
        steps = {quality: [ladder[quality] for ladder in ladders] for quality in CURVE}
        return {
            f'quality {quality}': {'bytes': sizes(chosen), **self._scored(chosen)}
            for quality, chosen in steps.items()
        }

    def _step_curve(self, mean: np.ndarray, x: np.ndarray) -> Scores:
        return {f'step {step}': self._packed('entropy_int8', mean, x, step=step) for step in STEPS}

    def _pca_curve(self, components: Components, x: np.ndarray) -> Scores:
        """Return the scores by number of components, at one byte each and without rounding."""
        largest = components.max_values
        counts = [largest >> halvings for halvings in range(6) if largest >> halvings >= 4]
        return {
            f'{count} components': {
                'bytes': np.full(len(x), count),
                **fidelity(components.reconstruct(x, count), x),
            }
            for count in reversed(counts)
        }

    def _scored(self, chosen: Iterable[EncodedImage], scorer: Scorer | None = None) -> Scores:
        """Return the scores of decoded images."""
        pairs = [np.stack([to_planes(each.decoded), to_planes(each.original)]) for each in chosen]
        y, x = np.stack(pairs, 1)
        return scorer(y) if scorer else fidelity(y, x)


def with_bytes(values: int, scores: Scores) -> Scores:
    """Return scores with the size of `values` float32 values."""
    return {'bytes': np.full(len(scores['psnr']), 4 * values), **scores}


def sizes(images: Iterable[EncodedImage]) -> np.ndarray:
    """Return the bytes `[B]` of encoded images."""
    return np.array([image.bytes for image in images])


def to_planes(image: np.ndarray) -> np.ndarray:
    """Return a uint8 image `[H, W, 3]` or `[H, W]` as float32 `[C, H, W]` in [0, 1]."""
    return np.atleast_3d(image).transpose(2, 0, 1).astype(np.float32) / 255
