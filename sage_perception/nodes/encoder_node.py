# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Node that encodes crops into LCTs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sage_msgs.msg import Budget, Crop, CropArray, LCTArray, ModelInfo, ProbeChallenge, ProbeSet

from sage_perception import models
from sage_perception.core.latent import Latent, Telemetry
from sage_perception.irp.frame import FrameRefiner
from sage_perception.pipeline.crop_encoder import CropEncoder, EncodedCrops, EncodingError
from sage_perception.pipeline.sending import LatentSender, SendingPolicy
from sage_perception.pipeline.track_linker import TrackLinker
from sage_perception.ros import encoder_codes, encoder_services, qos
from sage_perception.ros.array_sizes import ArraySizes
from sage_perception.ros.authentication import AuthenticatedInput
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.announcements import model_info_to_msg
from sage_perception.ros.conversions.crops import residuals_to_msg
from sage_perception.ros.conversions.irp import budget_shares, budget_to_msg
from sage_perception.ros.conversions.latents import latent_size_bytes, pack
from sage_perception.ros.conversions.lct_arrays import PackedLCT, check_region, lct_array_to_msg
from sage_perception.ros.conversions.rois import roi_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.encoder_services import EncoderServices, crop_pixels
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import keys_beside_own, node_identity, own_keys
from sage_perception.ros.lifecycle import LifecycleNode
from sage_perception.ros.node_parameters.encoder import ENCODER
from sage_perception.ros.probe_publisher import ProbePublisher
from sage_perception.ros.run import run
from sage_perception.ros.statistics import ByteRate, Durations
from sage_perception.ros.tables import Topic
from sage_perception.ros.wire_encoding import WireEncoding
from sage_perception.trust.fitted import track_comparer
from sage_perception.trust.security.canonical import Wire
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.camera_health import TRUST


@dataclass(frozen=True, eq=False)
class _Configured:
    """State that exists while the node is configured."""

    encoder: CropEncoder
    identity: Identity
    sender: LatentSender


class EncoderNode(LifecycleNode):
    """Encodes crops and publishes one LCT array for each frame, with the header of the frame."""

    PARAMETERS = ENCODER
    SUBSCRIBES = (
        Topic('crops', CropArray, qos.CROPS, 'Crops of each frame.'),
        Topic(
            'probe_challenge',
            ProbeChallenge,
            qos.DEFAULT,
            'Challenges of an arbiter to encode new images.',
        ),
        *encoder_codes.SUBSCRIBES,
    )
    PUBLISHES = (
        Topic('lcts', LCTArray, qos.DEFAULT, 'LCTs of each frame, in the order of its crops.'),
        Topic(
            'model_info', ModelInfo, qos.LATCHED, 'Identity and latent statistics of the model.'
        ),
        Topic('probe_latents', ProbeSet, qos.LATCHED, 'Latents of the shared probe images.'),
        Topic('probe_answers', ProbeSet, qos.DEFAULT, 'Latents of the images of a challenge.'),
        Topic(
            'budget',
            Budget,
            qos.VISUALIZATION,
            'Distribution of the refinement budget of a frame among its crops.',
        ),
        Topic(
            'residuals',
            CropArray,
            qos.VISUALIZATION,
            'Crops minus their reconstructions: gray level 128 is a difference of 0, 255 of 1.',
        ),
        *encoder_codes.PUBLISHES,
    )
    SERVES = (
        *encoder_services.SERVES,
        CONTROL,
    )

    def __init__(self, **options: Any):
        super().__init__('encoder', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        serve_control(self)
        self._configured: _Configured | None = None
        self._camera_trust = 1.0
        self._refinement_fault = ''
        self._encoding = WireEncoding(self, 'lcts')
        self._durations = Durations()
        self._max_error = self._bytes = float('nan')
        self._sent, self._sizes = ByteRate(), ArraySizes()
        self._lcts = self.publisher('lcts')
        self._info = self.publisher('model_info')
        self._budget = self.publisher('budget')
        self._residuals = self.publisher('residuals')
        self._probes = ProbePublisher(self)
        self._codes = encoder_codes.EncoderCodes(self)
        required = self.parameters.require_signatures
        self._crops = AuthenticatedInput(
            self,
            'crops',
            self._receive,
            lambda: own_keys(self._require_configured().identity),
            required,
            lambda: [self._require_configured().identity.entity_id],
            check_stamps=required,
            max_age_s=self.parameters.max_age_s,
        )
        EncoderServices(self, lambda: self._require_configured().encoder)
        self.diagnostics.add('model', self._report)

    def configure(self) -> None:
        """Load the model, run it once to warm it up, and announce it."""
        parameters = self.parameters
        identity = node_identity(self, parameters.entity_id or self.get_namespace().strip('/'))
        try:
            codec = models.load_crop_codec(
                parameters.model,
                backend=parameters.backend,
                device=parameters.device,
                precision=parameters.precision,
            )
            codec.threads = parameters.threads
            encoder = CropEncoder(
                codec,
                encoding=self._encoding.current,
                max_bytes=parameters.latent_bytes,
                measure_every=parameters.measure_every,
            )
            if parameters.reentry_s:
                encoder.linker = TrackLinker(track_comparer(codec), parameters.reentry_s)
        except EncodingError as error:
            raise ConfigurationError(f"parameter 'encoding': {error}") from error
        except (models.ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        if parameters.refine_budget_ms:
            encoder.refiner = self._new_refiner()
        encoder.encode(np.zeros((1, *encoder.input_shape), np.float32), [None], [0])
        if parameters.require_signatures and identity.key is None:
            raise ConfigurationError(
                "parameter 'require_signatures': crops are verified with the key of this node, so "
                "set the parameter 'key' too"
            )
        self._crops.reset()
        try:
            encoder.codes = self._codes.load(codec, identity)
        except models.ModelError as error:
            raise ConfigurationError(f"parameter 'code_model': {error}") from error
        policy = SendingPolicy(parameters.send_on_change, parameters.max_bytes_per_s)
        sender = LatentSender(codec.latent_mean.ravel(), policy)
        self._configured = _Configured(encoder, identity, sender)
        now = self.get_clock().now().to_msg()
        self._info.publish(
            model_info_to_msg(
                codec, now, identity.entity_id, identity.next_sequence(), identity.key
            )
        )
        self._probes.start(codec, identity, keys_beside_own(self))
        self.get_logger().info(
            f'loaded {codec.id} on {codec.backend}, {codec.device}, {codec.precision}; '
            f'entity {identity.entity_id!r}, public key: {identity.public_key}'
        )

    def _new_refiner(self) -> FrameRefiner:
        parameters = self.parameters
        try:
            return FrameRefiner(parameters.model, parameters.device, parameters.refine_budget_ms)
        except models.ModelError as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        except ImportError as error:
            raise ConfigurationError(
                f"parameter 'refine_budget_ms': refinement needs torch ({error}): pip install "
                'torch, or set it to 0'
            ) from error

    def _receive(self, message: CropArray) -> None:
        """Encode the crops of a frame and publish the result."""
        configured = self._configured
        if not self.active or configured is None:
            return
        start_s = time.perf_counter()
        configured.encoder.encoding = self._encoding.current
        self._camera_trust = TRUST.get(message.fault, 0.0)
        crops, inputs = self._readable(message, configured.encoder)
        lcts: list[PackedLCT] = []
        if crops:
            encoded = configured.encoder.encode(
                np.stack(inputs),
                [roi_from_msg(crop.roi) for crop in crops],
                [crop.track_id for crop in crops],
                [crop.score for crop in crops],
                self._camera_trust,
                stamp_from_msg(message.header.stamp),
            )
            self._max_error = float(encoded.errors.max())
            saliences = [crop.score for crop in crops]
            lcts = self._pack(configured, encoded, saliences, message)
            self._publish_budget(message, crops, configured.encoder, encoded)
            self._codes.publish_scores(message, encoded, configured.identity)
            self._codes.publish_objects(message, encoded)
            if self.parameters.output != 'latents':
                residuals = configured.encoder.residuals(encoded)
                self._residuals.publish(residuals_to_msg(message, crops, residuals))
        # A frame of which nothing is sent would otherwise cost an array without content.
        if self.parameters.output != 'residuals' and (lcts or not crops):
            self._publish_lcts(configured.identity, message, lcts)
        self._durations.add(time.perf_counter() - start_s)

    def _readable(
        self, message: CropArray, encoder: CropEncoder
    ) -> tuple[list[Crop], list[np.ndarray]]:
        """Return the crops whose images can be read, and their inputs `[C, S, S]`."""
        crops, inputs = [], []
        for crop in message.crops:
            try:
                inputs.append(encoder.to_input(crop_pixels(crop.image, encoder)))
                crops.append(crop)
            except ValueError as error:
                self._crops.reject(str(error))
        return crops, inputs

    def _pack(
        self,
        configured: _Configured,
        encoded: EncodedCrops,
        saliences: Sequence[float],
        frame: CropArray,
    ) -> list[PackedLCT]:
        """Return the LCTs to send that can be transmitted, and their wire encodings."""
        packer, stamp_ns = configured.encoder.packer, stamp_from_msg(frame.header.stamp)
        found: list[tuple[Latent, Wire, float]] = []
        for latent, salience in zip(encoded.latents, saliences, strict=True):
            lean = latent
            if not self.parameters.telemetry:
                only = Telemetry.trust_only(latent.telemetry.trust)
                lean = replace(latent, telemetry=only, log_var=None)
            try:
                check_region(lean)
                found.append((lean, pack(lean, configured.encoder.encoding, packer), salience))
            except ValueError as error:
                self._crops.reject(str(error))
        latents = [latent for latent, _, _ in found]
        sizes = [latent_size_bytes(latent, wire) for latent, wire, _ in found]
        chosen = configured.sender.select(latents, sizes, [s for _, _, s in found], stamp_ns)
        self._codes.keep_unsent(latents, chosen)
        lcts = configured.encoder.lcts([latents[n] for n in chosen], stamp_ns, configured.identity)
        return list(zip(lcts, [found[n][1] for n in chosen], strict=True))

    def _publish_lcts(
        self, identity: Identity, frame: CropArray, lcts: Sequence[PackedLCT]
    ) -> None:
        """Publish the LCTs of a frame, signed."""
        size = frame.source_width, frame.source_height
        try:
            array = lct_array_to_msg(frame.header, size, identity.entity_id, lcts, identity.key)
        except ValueError as error:
            self._crops.reject(str(error))
            return
        if lcts:
            payloads = [code.payload for crop in array.crops for code in crop.codes]
            self._bytes = sum(map(len, payloads)) / len(lcts)
        self._lcts.publish(array)
        if self._lcts.uses_dds:
            self._sent.add(self._sizes.of(array))

    def _publish_budget(
        self, frame: CropArray, crops: list[Crop], encoder: CropEncoder, encoded: EncodedCrops
    ) -> None:
        """Publish how the refinement budget of a frame was distributed."""
        refined, coded = encoded.refinement, encoded.coded
        total, shares = 0, []
        if encoder.refiner is not None and refined is not None:
            self._refinement_fault = refined.fault
            total = encoder.refiner.budget
            tracks = [crop.track_id for crop in crops]
            shares = budget_shares(refined.shares, tracks, refined.outcome)
        if coded is not None and coded.shares:
            total += coded.budget
            shares += budget_shares(coded.shares, coded.tracks)
        if shares:
            self._budget.publish(budget_to_msg(total, shares, frame.header))

    def _require_configured(self) -> _Configured:
        if self._configured is None:
            raise ValueError('the node has no model: configure it first')
        return self._configured

    def cleanup(self) -> None:
        """Release the model and the key."""
        self._probes.stop()
        self._codes.close()
        self._configured = None

    def close(self) -> None:
        """Stop the workers before the endpoints are destroyed."""
        self._probes.close()
        self._codes.close()
        super().close()

    def _report(self) -> Status:
        if self._configured is None:
            return WARN, 'no model: not configured', {}
        encoder, identity = self._configured.encoder, self._configured.identity
        codec = encoder.codec
        figures = {
            'model': codec.id,
            'backend': codec.backend,
            'device': codec.device,
            'entity': identity.entity_id,
            'public_key': identity.public_key,
            'active': self.active,
            'crops_authenticated': 'yes' if self.parameters.require_signatures else 'no',
            'encoding': self._encoding.current.name.lower(),
            'bytes_per_latent': self._bytes,
            'message_bytes_per_s': self._sent.per_s,
            'latents_unchanged': self._configured.sender.unchanged,
            'latents_over_byte_rate': self._configured.sender.limited,
            'encode_p50_ms': self._durations.percentile_ms(50),
            'encode_p95_ms': self._durations.percentile_ms(95),
            'worst_reconstruction_error': self._max_error,
            'camera_health': self._camera_trust,
            'trust_by': 'quality map' if encoder.telemetry_trust.quality else 'specification',
            **self._codes.figures,
        }
        if not self.active:
            return WARN, 'not active', figures
        if self._refinement_fault:
            return WARN, f'not refined: {self._refinement_fault}', figures
        return OK, 'encoding' if identity.key else 'encoding, unsigned', figures


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(EncoderNode, args))


if __name__ == '__main__':
    main()
