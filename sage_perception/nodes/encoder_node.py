# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compresses crops to latents and says how far each may be trusted."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from sage_msgs.msg import Budget, Crop, CropArray, LCTArray, ModelInfo, ProbeSet
from sage_msgs.srv import DecodeLatent, EncodeImage
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.codecs.packing import Form, Packer
from sage_perception.core.latent import Latent, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.core.metrics import kl_per_dim
from sage_perception.irp.delta import to_delta
from sage_perception.irp.frame import FrameRefiner
from sage_perception.pipeline.error_sampler import ErrorSampler
from sage_perception.ros import qos
from sage_perception.ros.background import Worker
from sage_perception.ros.conversions.announcements import model_info_to_msg, probe_set_to_msg
from sage_perception.ros.conversions.irp import budget_to_msg
from sage_perception.ros.conversions.latents import (
    latent_from_msg,
    latent_size_bytes,
    latent_to_msg,
)
from sage_perception.ros.conversions.model_ids import model_id_from_msg
from sage_perception.ros.conversions.rois import roi_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import OK, WARN, Durations, Report
from sage_perception.ros.endpoints import AUTOSTART, LifecycleNode, Service, Topic, run
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import KEY, Identity
from sage_perception.ros.images import to_message, to_mono, to_rgb
from sage_perception.ros.parameters import Parameter
from sage_perception.trust.compatibility import probe_images as probes
from sage_perception.trust.fitted import telemetry_trust_of
from sage_perception.trust.security import announcements as statements
from sage_perception.vision.camera_health import TRUST
from sage_perception.vision.crops import to_pixels


class EncoderNode(LifecycleNode):
    """Turns crops into LCTs, one array a frame, with the frame's header."""

    PARAMETERS = (
        AUTOSTART,
        Parameter(
            'model',
            'tinyvae',
            'Name of a model that ships with sage, or folder of an artifact.',
            read_only=True,
        ),
        Parameter(
            'backend',
            'auto',
            'What runs the model; auto: ONNX Runtime where it is installed and device is the CPU.',
            choices=('auto', 'torch', 'onnxruntime'),
            read_only=True,
        ),
        Parameter('device', 'auto', 'auto, cpu or cuda.', read_only=True),
        Parameter(
            'precision',
            'fp32',
            'Numbers the model computes with.',
            choices=('fp32', 'fp16'),
            read_only=True,
        ),
        Parameter(
            'encoding',
            'float32',
            'Form in which latents travel. Of 64 numbers: float32 256 bytes, and as many for the '
            'variance, which the others leave out; float16 128; int8 64; entropy_int8 about 40; '
            'vq the tokens of the codebook in the folder of the model.',
            choices=tuple(form.name.lower() for form in Form),
            read_only=True,
        ),
        Parameter(
            'entity_id',
            '',
            "Who speaks in the LCTs; empty: the node's namespace.",
            read_only=True,
        ),
        KEY,
        Parameter(
            'measure_every',
            3,
            'Frames in which the latent of each track is decoded once, to measure its '
            'reconstruction error; between, the last one stands. 1: every latent.',
            minimum=1,
            maximum=100,
            read_only=True,
        ),
        Parameter(
            'refine_budget_ms',
            0.0,
            "Milliseconds a frame in which latents are refined: what its crops' images still "
            'lack is brought down by gradient descent, on torch. 0: as the encoder has them.',
            minimum=0.0,
            maximum=1000.0,
            read_only=True,
        ),
        Parameter(
            'output',
            'latents',
            'What is published of each crop: its latent, on lcts; its reconstruction delta, what '
            'the latent does not say, on residuals; or both.',
            choices=('latents', 'residuals', 'both'),
            read_only=True,
        ),
    )
    SUBSCRIBES = (Topic('crops', CropArray, qos.CROPS, 'Crops of each frame.'),)
    PUBLISHES = (
        Topic('lcts', LCTArray, qos.DEFAULT, 'LCTs of each frame, in the order of its crops.'),
        Topic('model_info', ModelInfo, qos.LATCHED, 'What the model is and how to read it.'),
        Topic('probe_latents', ProbeSet, qos.LATCHED, 'Its latents of the shared probe images.'),
        Topic(
            'budget', Budget, qos.VISUALIZATION, 'How the time to refine a frame was shared out.'
        ),
        Topic(
            'residuals',
            CropArray,
            qos.VISUALIZATION,
            'Crops less what their latents decode to: gray 128 is no difference, 127 grays are 1.',
        ),
    )
    SERVES = (
        Service('~/encode_image', EncodeImage, 'Encode one image.'),
        Service('~/decode_latent', DecodeLatent, "Decode one latent of this node's model."),
    )

    def __init__(self, **options):
        super().__init__('encoder', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        self._codec = self._packer = self._speaker = self._trust = self._refiner = None
        self._health = 1.0
        self._fault = ''
        self._form = Form[self.parameters.encoding.upper()]
        self._took = Durations()
        self._memory = ErrorSampler(self.parameters.measure_every)
        self._worst = self._bytes = math.nan
        self._lcts = self.publisher('lcts')
        self._info = self.publisher('model_info')
        self._probes = self.publisher('probe_latents')
        self._budget = self.publisher('budget')
        self._deltas = self.publisher('residuals')
        self._worker = Worker(self, 'probes')
        self._crops = self.subscribe('crops', self._receive)
        self.serve('~/encode_image', self._serve_encode)
        self.serve('~/decode_latent', self._serve_decode)
        self.diagnostics.add('model', self._report)

    def configure(self) -> None:
        """Load the model, run it once so that the first frame is not late, and say what it is."""
        wanted = self.parameters
        speaker = Identity(self, wanted.entity_id or self.get_namespace().strip('/'))
        try:
            codec = models.load_crop_codec(
                wanted.model,
                backend=wanted.backend,
                device=wanted.device,
                precision=wanted.precision,
            )
            packer, trust = Packer.of(codec), telemetry_trust_of(codec)
        except (models.ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        if self._form == Form.VQ and packer.codebook is None:
            raise ConfigurationError(
                f"parameter 'encoding': vq needs a codebook, and {codec.artifact.path} holds none"
                ': make one with `sage codebook`, or choose another form'
            )
        self._refiner = self._new_refiner(wanted) if wanted.refine_budget_ms else None
        self._codec, self._packer, self._speaker, self._trust = codec, packer, speaker, trust
        self._encode(np.zeros((1, *self._shape), np.float32))
        now = self.get_clock().now().to_msg()
        self._info.publish(
            model_info_to_msg(codec, now, speaker.entity, time.time_ns(), speaker.key)
        )
        self._worker.do(partial(self._say_probes, codec, speaker))
        self.get_logger().info(
            f'{self._codec.id} on {self._codec.backend}, {self._codec.device}, '
            f'{self._codec.precision}; speaks as {speaker.entity!r}, '
            f'signs with {speaker.signs_with}'
        )

    def _say_probes(self, codec: models.Codec, speaker: Identity) -> None:
        """Publish the latents of the probes, by which others measure how far they can use ours."""
        if codec.latent_dim > statements.MAX_DIMENSIONS:
            raise ValueError(
                f'latents of {codec.id} have {codec.latent_dim} dimensions, a probe set holds '
                f'{statements.MOST_DIMENSIONS}: others cannot measure them'
            )
        latents = probes.probe_latents(codec)
        said = statements.ProbeSet(speaker.entity, time.time_ns(), codec.id, latents)
        message = probe_set_to_msg(said, self.get_clock().now().to_msg(), speaker.key)
        if codec is self._codec:
            self._probes.publish(message)

    def _new_refiner(self, wanted) -> FrameRefiner:
        try:
            return FrameRefiner(wanted.model, wanted.device, wanted.refine_budget_ms)
        except models.ModelError as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        except ImportError as error:
            raise ConfigurationError(
                f"parameter 'refine_budget_ms': refining needs torch ({error}): pip install "
                'torch, or set it to 0'
            ) from error

    @property
    def _shape(self) -> tuple[int, int, int]:
        size = self._codec.input_size
        return self._codec.input_channels, size, size

    def _receive(self, message: CropArray) -> None:
        if not self.active:
            return
        begun = time.perf_counter()
        array = LCTArray(header=message.header, camera=self._speaker.entity)
        array.source_width, array.source_height = message.source_width, message.source_height
        self._health = TRUST.get(message.fault, 0.0)
        kept, pictures = [], []
        for crop in message.crops:
            try:
                pictures.append(self._image(crop.image))
                kept.append(crop)
            except ValueError as error:
                self._crops.reject(str(error))
        if kept:
            latents = self._encode(
                np.stack(pictures),
                [(roi_from_msg(crop.roi), crop.track_id) for crop in kept],
                self._health,
                self._refiner and partial(self._refine, message.header, kept),
            )
            stamp = stamp_from_msg(message.header.stamp)
            for latent in latents:
                try:
                    lct = self._said(latent, stamp)
                    array.lcts.append(self._speaker.say(lct, self._form, self._packer))
                except ValueError as error:
                    self._crops.reject(str(error))
            if self.parameters.output != 'latents':
                self._say_deltas(message, kept, pictures, latents)
        if array.lcts:
            self._bytes = float(np.mean([latent_size_bytes(lct.latent) for lct in array.lcts]))
        if self.parameters.output != 'residuals':
            self._lcts.publish(array)
        self._took.add(time.perf_counter() - begun)

    def _say_deltas(self, frame: CropArray, crops: list[Crop], pictures, latents) -> None:
        """Publish what the latents of a frame's crops do not say of them."""
        mean = np.stack([latent.mean for latent in latents])
        deltas = to_delta(np.stack(pictures), self._codec.decode(self._arriving(mean)))
        said = CropArray(
            header=frame.header,
            source_width=frame.source_width,
            source_height=frame.source_height,
            fault=frame.fault,
        )
        encoding = 'rgb8' if deltas.shape[3] == 3 else 'mono8'
        for crop, delta in zip(crops, deltas, strict=True):
            image = to_message(delta, encoding, frame.header)
            said.crops.append(
                Crop(
                    roi=crop.roi,
                    score=crop.score,
                    source=crop.source,
                    track_id=crop.track_id,
                    image=image,
                )
            )
        self._deltas.publish(said)

    def _image(self, message: Image) -> np.ndarray:
        """Return an image as the model reads it: float32 `[C, S, S]` in [0, 1]."""
        channels, size, _ = self._shape
        picture = to_rgb(message) if channels == 3 else to_mono(message)
        if picture.shape[:2] != (size, size):
            picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        return picture.reshape(size, size, channels).transpose(2, 0, 1).astype(np.float32) / 255

    def _encode(
        self, pictures: np.ndarray, places=((None, 0),), health=1.0, refine=None
    ) -> list[Latent]:
        begun = time.perf_counter()
        mean, log_var = self._codec.encode_stats(pictures)
        told = [Telemetry()] * len(pictures)
        if refine:
            mean, told = refine(pictures, mean)
        errors = self._memory.measure(
            [track for _, track in places],
            pictures,
            lambda due: self._codec.decode(self._arriving(mean[due])),
        )
        kl = kl_per_dim(mean, log_var)
        trust = health * self._trust(errors, kl, mean, pictures)
        refined_s = sum(each.time_s for each in told)
        each_s = (time.perf_counter() - begun - refined_s) / len(pictures)
        self._worst = float(errors.max())
        return [
            Latent(
                mean=mean[i],
                log_var=log_var[i],
                model=self._codec.id,
                roi=roi,
                track_id=track,
                telemetry=replace(
                    told[i],
                    trust=float(trust[i]),
                    reconstruction_error=float(errors[i]),
                    kl_per_dim=float(kl[i]),
                    latent_norm=float(np.linalg.norm(mean[i])),
                    time_s=each_s + told[i].time_s,
                    energy_trajectory=told[i].energy_trajectory or (float(errors[i]),),
                ),
            )
            for i, (roi, track) in enumerate(places)
        ]

    def _refine(
        self, header: Header, crops: list[Crop], pictures: np.ndarray, guess: np.ndarray
    ) -> tuple[np.ndarray, list[Telemetry]]:
        """Return refined latents `[B, D]` and what became of each; say who got what for it."""
        tracks = [crop.track_id for crop in crops]
        errors = np.array([self._memory.last(track) for track in tracks])
        result = self._refiner.refine(
            pictures, guess, tracks, [crop.score for crop in crops], errors
        )
        if self._form == Form.FLOAT32:  # what the refinement measured is what arrives
            began = np.flatnonzero(np.isfinite(result.refinement.best))
            self._memory.note([tracks[i] for i in began], result.refinement.best[began])
        self._fault = result.fault
        self._budget.publish(budget_to_msg(result, tracks, self._refiner.budget, header))
        return np.stack(result.outputs), result.telemetry

    def _arriving(self, mean: np.ndarray) -> np.ndarray:
        """Return latents `[B, D]` as their receivers will have them."""
        if self._form == Form.FLOAT32 or not np.isfinite(mean).all():
            return mean
        pack, unpack = self._packer.pack, self._packer.unpack
        return np.stack([unpack(pack(z, self._form), self._form) for z in mean])

    def _said(self, latent: Latent, stamp: int) -> LCT:
        return LCT.encoded(
            latent,
            entity_id=self._speaker.entity,
            sequence=self._speaker.next(),
            stamp_ns=stamp,
        )

    def _require_model(self) -> None:
        if self._codec is None:
            raise ValueError('the node has no model: configure it first')

    def _serve_encode(self, request: EncodeImage.Request, response: EncodeImage.Response):
        try:
            self._require_model()
            response.latent = latent_to_msg(self._encode(self._image(request.image)[None])[0])
            response.success = True
        except ValueError as error:
            response.message = str(error)
        return response

    def _serve_decode(self, request: DecodeLatent.Request, response: DecodeLatent.Response):
        try:
            self._require_model()
            model, own = model_id_from_msg(request.latent.model), self._codec.id
            if model.fingerprint != own.fingerprint:
                raise ValueError(f'the latent is of {model}, this node has {own}')
            latent = latent_from_msg(request.latent, {own.fingerprint: self._packer})
            if not np.isfinite(latent.mean).all():
                raise ValueError('the latent is not finite')
            picture = self._codec.decode(latent.mean[None])[0]
        except (ValueError, models.ModelError) as error:
            response.message = str(error)
            return response
        pixels = to_pixels(picture)
        encoding = 'rgb8' if pixels.shape[2] == 3 else 'mono8'
        response.image = to_message(pixels, encoding, EncodeImage.Request().image.header)
        response.success = True
        return response

    def cleanup(self) -> None:
        """Let go of the model and the key."""
        self._codec = self._packer = self._speaker = self._trust = self._refiner = None

    def close(self) -> None:
        """Publish no more."""
        self._worker.close()
        super().close()

    def _report(self) -> Report:
        if self._codec is None:
            return WARN, 'no model: not configured', {}
        figures = {
            'model': self._codec.id,
            'backend': self._codec.backend,
            'device': self._codec.device,
            'entity': self._speaker.entity,
            'signs_with': self._speaker.signs_with,
            'active': self.active,
            'encoding': self.parameters.encoding,
            'bytes_per_latent': self._bytes,
            'encode_p50_ms': self._took.percentile_ms(50),
            'encode_p95_ms': self._took.percentile_ms(95),
            'worst_reconstruction_error': self._worst,
            'camera_health': self._health,
            'trust_by': 'quality map' if self._trust.quality else 'specification',
        }
        if not self.active:
            return WARN, 'not active', figures
        if self._fault:
            return WARN, f'not refined: {self._fault}', figures
        return OK, 'encoding' if self._speaker.key else 'encoding, unsigned', figures


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(EncoderNode, args))


if __name__ == '__main__':
    main()
