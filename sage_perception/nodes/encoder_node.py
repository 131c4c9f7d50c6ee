# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Node that encodes crops into LCTs."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from sage_msgs.msg import Budget, Crop, CropArray, LCTArray, ModelInfo, ProbeChallenge, ProbeSet

from sage_perception import models
from sage_perception.pipeline.code_encoder import CodeEncoder
from sage_perception.pipeline.crop_encoder import CropEncoder, EncodedCrops, EncodingError
from sage_perception.ros import encoder_codes, encoder_services, qos
from sage_perception.ros.authentication import AuthenticatedInput
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.announcements import model_info_to_msg
from sage_perception.ros.conversions.crops import residuals_to_msg
from sage_perception.ros.conversions.irp import frame_budget_to_msg
from sage_perception.ros.conversions.lct_arrays import PackedLCT
from sage_perception.ros.conversions.rois import roi_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.encoder_models import build_encoder
from sage_perception.ros.encoder_services import EncoderServices, crop_pixels
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import keys_beside_own, node_identity, own_keys
from sage_perception.ros.lct_output import LCTOutput
from sage_perception.ros.lifecycle import LifecycleNode
from sage_perception.ros.node_parameters.encoder import ENCODER
from sage_perception.ros.probe_publisher import ProbePublisher
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Durations
from sage_perception.ros.tables import Topic
from sage_perception.ros.wire_encoding import WireEncoding
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.camera_health import TRUST


@dataclass(frozen=True, eq=False)
class _Configured:
    """State that exists while the node is configured."""

    encoder: CropEncoder
    identity: Identity
    output: LCTOutput


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
        self._max_error = float('nan')
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
        if parameters.require_signatures and identity.key is None:
            raise ConfigurationError(
                "parameter 'require_signatures': crops are verified with the key of this node, so "
                "set the parameter 'key' too"
            )
        codec = self._load_codec()
        encoder = self._build_encoder(codec, self._load_codes(codec))
        encoder.encode(np.zeros((1, *encoder.input_shape), np.float32), [None], [0])
        self._crops.reset()
        output = LCTOutput(parameters, self._lcts, encoder, identity, self._crops.reject)
        self._configured = _Configured(encoder, identity, output)
        self._announce(encoder.codec, identity)

    def _load_codec(self) -> models.Codec:
        parameters = self.parameters
        try:
            codec = models.load_crop_codec(
                parameters.model,
                backend=parameters.backend,
                device=parameters.device,
                precision=parameters.precision,
            )
        except (models.ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        codec.threads = parameters.threads
        return codec

    def _load_codes(self, codec: models.Codec) -> CodeEncoder | None:
        try:
            return self._codes.load(codec)
        except models.ModelError as error:
            raise ConfigurationError(f"parameter 'code_model': {error}") from error

    def _build_encoder(self, codec: models.Codec, codes: CodeEncoder | None) -> CropEncoder:
        try:
            return build_encoder(self.parameters.values, codec, codes)
        except EncodingError as error:
            raise ConfigurationError(f"parameter 'encoding': {error}") from error
        except (models.ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        except ImportError as error:
            raise ConfigurationError(
                f"parameter 'refine_budget_ms': refinement needs torch ({error}): pip install "
                'torch, or set it to 0'
            ) from error

    def _announce(self, codec: models.Codec, identity: Identity) -> None:
        """Publish the models and the probe latents."""
        now = self.get_clock().now().to_msg()
        self._codes.announce(identity)
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
            lcts = configured.output.select(message, encoded, [crop.score for crop in crops])
            self._publish_budget(message, configured.encoder, encoded)
            self._codes.publish_scores(message, encoded, configured.identity)
            self._codes.publish_objects(message, encoded)
            if self.parameters.output != 'latents':
                residuals = configured.encoder.residuals(encoded)
                self._residuals.publish(residuals_to_msg(message, crops, residuals))
        # A frame of which nothing is sent would otherwise cost an array without content.
        if self.parameters.output != 'residuals' and (lcts or not crops):
            configured.output.publish(message, lcts)
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

    def _publish_budget(
        self, frame: CropArray, encoder: CropEncoder, encoded: EncodedCrops
    ) -> None:
        """Publish how the budgets of a frame were distributed."""
        if encoded.refinement is not None:
            self._refinement_fault = encoded.refinement.fault
        budget = 0 if encoder.refiner is None else encoder.refiner.budget
        message = frame_budget_to_msg(frame.header, encoded, budget)
        if message is not None:
            self._budget.publish(message)

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
            **self._configured.output.figures,
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
