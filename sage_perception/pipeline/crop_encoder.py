# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Encoding of the crops of one camera into latents and LCTs.

>>> encoder = CropEncoder(load_crop_codec('tinyvae'))
>>> frame = encoder.encode_crops(Attention().attend(image, stamp_s))
>>> lcts = encoder.lcts(frame.latents, stamp_ns, Identity('cam0'))
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.frame import Crop
from sage_perception.core.latent import Latent, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.core.metrics import kl_per_dim
from sage_perception.irp.frame import FrameRefiner
from sage_perception.irp.orchestrator import Result
from sage_perception.irp.residual import to_residual
from sage_perception.models import Codec
from sage_perception.pipeline.code_encoder import CodedFrame, CodeEncoder
from sage_perception.pipeline.error_sampler import MEASURE_EVERY, ErrorSampler
from sage_perception.pipeline.track_linker import TrackLinker
from sage_perception.trust.fitted import telemetry_trust_of
from sage_perception.trust.quality import TelemetryTrust
from sage_perception.trust.security.identity import Identity


class EncodingError(ValueError):
    """The model cannot transmit its latents in the requested encoding."""


@dataclass(frozen=True, eq=False)
class EncodedCrops:
    """The latents of the crops of one frame.

    `inputs` are the crops as the model reads them, float32 `[B, C, S, S]` in [0, 1]. `errors`
    `[B]` are the reconstruction errors, `refinement` is the result of the refiner and `coded` that
    of the code encoder, None without one. `tracks` are the ids of attention; those of the latents
    differ for tracks that came back, with a track linker.
    """

    inputs: np.ndarray
    latents: list[Latent]
    errors: np.ndarray
    refinement: Result | None = None
    coded: CodedFrame | None = None
    tracks: Sequence[int] = ()

    @property
    def means(self) -> np.ndarray:
        """Return the means of the latents, float32 `[B, D]`."""
        return np.stack([latent.mean for latent in self.latents])


class CropEncoder:
    """Encodes the crops of one camera and measures the trust in each latent.

    `encoding` is the encoding in which the latents are transmitted: reconstruction errors are
    those of the latents after decoding. `max_bytes` is explained in `Packer`, `measure_every` in
    `ErrorSampler`. With a `refiner` latents are refined within its budget, with `codes` some
    latents get codes, and with a `linker` tracks that come back keep their ids.
    `telemetry_trust` is by default the one calibrated for the model.

    The encoder keeps state for each track: use one instance for each camera. Raises `ModelError`
    or `ValueError` if the codebook or the calibration of the model cannot be read, and
    `EncodingError` if `encoding` is VQ and the model has no codebook.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        encoding: Encoding = Encoding.FLOAT32,
        max_bytes: int = 0,
        measure_every: int = MEASURE_EVERY,
        refiner: FrameRefiner | None = None,
        codes: CodeEncoder | None = None,
        linker: TrackLinker | None = None,
        telemetry_trust: TelemetryTrust | None = None,
    ):
        self.codec, self.encoding, self.refiner, self.codes = codec, encoding, refiner, codes
        self.linker = linker
        self.packer = Packer.of(codec, max_bytes)
        self.telemetry_trust = telemetry_trust or telemetry_trust_of(codec)
        if encoding == Encoding.VQ and self.packer.codebook is None:
            raise EncodingError(
                f'vq needs a codebook, and {codec.artifact.path} has none: '
                'train one with `sage codebook`, or choose another encoding'
            )
        self._errors = ErrorSampler(codec.latent_std.ravel(), measure_every)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Return the shape `[C, S, S]` of an input of the model."""
        size = self.codec.input_size
        return self.codec.input_channels, size, size

    def to_input(self, image: np.ndarray) -> np.ndarray:
        """Return a crop as the model reads it, float32 `[C, S, S]` in [0, 1].

        `image` is uint8, `[H, W, 3]` RGB or `[H, W]` gray, of any size.
        """
        channels, size, _ = self.input_shape
        if channels == 1 and image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        elif channels == 3 and image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        if image.shape[:2] != (size, size):
            image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        return image.reshape(size, size, channels).transpose(2, 0, 1).astype(np.float32) / 255

    def encode_image(self, image: np.ndarray) -> Latent:
        """Return the latent of one image without region or track; see `to_input`."""
        return self.encode(self.to_input(image)[None], [None], [0]).latents[0]

    def encode_crops(
        self, crops: Sequence[Crop], camera_trust: float = 1.0, stamp_ns: int | None = None
    ) -> EncodedCrops:
        """Encode the crops of one frame; see `encode`."""
        return self.encode(
            np.stack([self.to_input(crop.image) for crop in crops]),
            [crop.roi for crop in crops],
            [crop.track_id for crop in crops],
            [crop.score for crop in crops],
            camera_trust,
            stamp_ns,
        )

    def encode(
        self,
        inputs: np.ndarray,
        rois: Sequence[Roi | None],
        tracks: Sequence[int],
        scores: Sequence[float] | None = None,
        camera_trust: float = 1.0,
        stamp_ns: int | None = None,
    ) -> EncodedCrops:
        """Encode the crops of one frame.

        `inputs` are float32 `[B, C, S, S]` in [0, 1] with B > 0; `tracks` are track ids, 0 for
        none. Only crops with `scores`, their salience, are refined. `camera_trust` in [0, 1] is
        the factor for the health of the camera (`CameraHealth.trust`). Codes need `scores` and
        `stamp_ns`, the stamp of the frame; links of tracks need `stamp_ns`.
        """
        begun = time.perf_counter()
        mean, log_var = self.codec.encode_stats(inputs)
        refined = None
        telemetry = [Telemetry()] * len(inputs)
        if self.refiner is not None and scores is not None:
            refined = self._refine(inputs, mean, tracks, scores)
            mean, telemetry = np.stack(refined.outputs), refined.telemetry
        errors = self._errors.measure(
            tracks, mean, inputs, lambda due: self.codec.decode(self.as_received(mean[due]))
        )
        kl = kl_per_dim(mean, log_var)
        trust = camera_trust * self.telemetry_trust(errors, kl, mean, inputs)
        refined_s = sum(each.time_s for each in telemetry)
        each_s = (time.perf_counter() - begun - refined_s) / len(inputs)
        latents = [
            Latent(
                mean=mean[i],
                log_var=log_var[i],
                model=self.codec.id,
                roi=roi,
                track_id=track,
                telemetry=replace(
                    telemetry[i],
                    trust=float(trust[i]),
                    reconstruction_error=float(errors[i]),
                    kl_per_dim=float(kl[i]),
                    latent_norm=float(np.linalg.norm(mean[i])),
                    time_s=each_s + telemetry[i].time_s,
                    energy_trajectory=telemetry[i].energy_trajectory or (float(errors[i]),),
                ),
            )
            for i, (roi, track) in enumerate(zip(rois, tracks, strict=True))
        ]
        if self.linker is not None and stamp_ns is not None:
            ids = self.linker.link(latents, stamp_ns)
            latents = [
                replace(each, track_id=track) for each, track in zip(latents, ids, strict=True)
            ]
        coded = None
        if self.codes is not None and scores is not None and stamp_ns is not None:
            coded = self.codes.encode(latents, inputs, scores, stamp_ns)
            latents = coded.latents
        return EncodedCrops(inputs, latents, errors, refined, coded, list(tracks))

    def _refine(
        self,
        inputs: np.ndarray,
        guess: np.ndarray,
        tracks: Sequence[int],
        scores: Sequence[float],
    ) -> Result:
        """Refine the latents `guess` `[B, D]` within the budget of a frame."""
        assert self.refiner is not None
        errors = np.array([self._errors.last(track) for track in tracks])
        result = self.refiner.refine(inputs, guess, tracks, scores, errors)
        if self.encoding == Encoding.FLOAT32:  # the refined latent arrives unchanged
            began = np.flatnonzero(np.isfinite(result.refinement.best)).tolist()
            latents = np.stack(result.outputs)[began]
            self._errors.note([tracks[i] for i in began], latents, result.refinement.best[began])
        return result

    def as_received(self, mean: np.ndarray) -> np.ndarray:
        """Return latents `[B, D]` after packing and unpacking, as receivers decode them."""
        if self.encoding == Encoding.FLOAT32 or not np.isfinite(mean).all():
            return mean
        pack, unpack = self.packer.pack, self.packer.unpack
        return np.stack([unpack(pack(z, self.encoding), self.encoding) for z in mean])

    def received(self, lct: LCT) -> LCT:
        """Return an LCT as receivers decode it; packed encodings transmit no variance."""
        if self.encoding == Encoding.FLOAT32:
            return lct
        mean = self.as_received(lct.latent.mean[None])[0]
        return replace(lct, latent=replace(lct.latent, mean=mean, log_var=None))

    def lcts(self, latents: Sequence[Latent], stamp_ns: int, identity: Identity) -> list[LCT]:
        """Return the LCTs of latents of a frame captured at `stamp_ns`, made by `identity`.

        They share one sequence. The trust of each is that of the encoding step.
        """
        if not latents:
            return []
        sequence = identity.next_sequence()
        return [
            LCT.encoded(
                latent,
                entity_id=identity.entity_id,
                sequence=sequence,
                stamp_ns=stamp_ns,
                index=index,
            )
            for index, latent in enumerate(latents)
        ]

    def residuals(self, frame: EncodedCrops) -> np.ndarray:
        """Return crops minus reconstructions, uint8 `[B, S, S, C]`; see `to_residual`."""
        return to_residual(frame.inputs, self.codec.decode(self.as_received(frame.means)))
