# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Observations of encoded crops: measurements at encoding time, and the resulting quality.

The error of crops of still images is measured for each crop. Clips pass through attention and the
crop encoder, so the error is the last one that the encoder node would have measured for the track.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sage_perception.core.progress import track
from sage_perception.models import Codec
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.training.data.crops import CropConfig, Stills
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture
from sage_perception.training.latents import BATCH
from sage_perception.training.losses import images as losses
from sage_perception.trust.quality import TelemetryTrust, image_variance, latent_distance
from sage_perception.vision.attention import Attention
from sage_perception.vision.sources.video_file import clip_frames

MAX_FRAMES = 400
"""Maximum number of frames read of a clip."""
EVERY = 4
"""Every fourth frame of a clip is observed."""
NOISY = 0.1
"""Share of the still crops to which noise is added, so that poor latents are observed as well."""
NOISE = (0.02, 1.0)
"""Range of the standard deviation of that noise, pixels in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Observations:
    """Measurements of N latents at encoding time, and the quality of their images; all `[N]`.

    `error` is the reconstruction error, `variance` that of the image, `distance` that of the
    latent from the model's statistics (see `sage_perception.trust.quality`), and `quality` the
    MS-SSIM of the decoded image.
    """

    error: np.ndarray
    variance: np.ndarray
    distance: np.ndarray
    quality: np.ndarray

    def __len__(self) -> int:
        return len(self.error)

    @classmethod
    def concatenate(cls, parts: Sequence[Observations]) -> Observations:
        """Return several observations as one."""
        return cls(*map(np.concatenate, zip(*(vars(p).values() for p in parts), strict=True)))


def observe(codec: Codec, x: np.ndarray, z: np.ndarray, error: np.ndarray) -> Observations:
    """Return the observations of latents `z` `[B, ...]` of images `x` `[B, C, S, S]`.

    `error` `[B]` is the reconstruction error known when the latents were encoded.
    """
    a, b = (torch.from_numpy(np.ascontiguousarray(p)) for p in (codec.decode(z), x))
    return Observations(
        error,
        image_variance(x),
        latent_distance(z, codec.latent_mean, codec.latent_std),
        losses.ms_ssim(a, b).double().numpy(),
    )


def observe_stills(codec: Codec, stills: Stills, count: int, seed: int) -> Observations:
    """Return the observations of `count` crops of images, some of them with noise."""
    crops = Mixture((stills,), (1.0,), CropConfig(codec.input_size)).sample(count, seed)
    rng = np.random.default_rng(seed)
    low, high = np.log(NOISE)
    parts = []
    for some in track(np.array_split(crops, -(-count // BATCH)), 'observing images'):
        x = to_model(some, codec.input_channels)
        sigma = np.exp(rng.uniform(low, high, len(x))) * (rng.random(len(x)) < NOISY)
        noise = rng.standard_normal(x.shape) * sigma[:, None, None, None]
        x = (x + noise).clip(0, 1).astype(np.float32)
        z = codec.encode(x)
        parts.append(observe(codec, x, z, np.square(codec.decode(z) - x).mean((1, 2, 3))))
    return Observations.concatenate(parts)


def observe_clip(codec: Codec, path: Path) -> Iterator[Observations]:
    """Yield the observations of the crops that attention cuts out of a clip, frame by frame."""
    attention = Attention()
    # The trust itself is not used: calibration must not depend on an earlier one.
    untrained = TelemetryTrust(None, codec.latent_mean, codec.latent_std)
    encoder = CropEncoder(codec, telemetry_trust=untrained)
    for number, (image, stamp_s) in enumerate(clip_frames(path)):
        if number >= MAX_FRAMES:
            return
        if crops := attention.attend(image, stamp_s):
            encoded = encoder.encode_crops(crops)
            if number % EVERY == 0:
                yield observe(codec, encoded.inputs, encoded.means, encoded.errors)


def observe_clips(codec: Codec, paths: Sequence[Path]) -> list[Observations]:
    """Return the observations of each clip in which something moves."""
    clips = (list(observe_clip(codec, path)) for path in track(paths, 'observing clips'))
    return [Observations.concatenate(frames) for frames in clips if frames]
