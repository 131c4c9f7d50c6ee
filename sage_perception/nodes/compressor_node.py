# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Node that builds contexts of the recent observations of all cameras and compresses them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from sage_msgs.msg import AgreementArray, HContext, LCTArray, SnarcArray
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.codecs.packing import Packer
from sage_perception.context.context import HContext as Context
from sage_perception.context.layout import ContextError
from sage_perception.context.space import LatentSpace
from sage_perception.core.latent import Latent, LatentKind, ModelId
from sage_perception.models import artifact
from sage_perception.models.artifact import LATENT_MEAN, LATENT_STD
from sage_perception.models.registry import resolve
from sage_perception.pipeline.context_encoder import ContextEncoder
from sage_perception.ros import qos
from sage_perception.ros.authentication import AuthenticatedInput
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.latents import latent_to_msg
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.memory import snarc_from_msg
from sage_perception.ros.conversions.packers import packers_of
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.conversions.trust import agreements_from_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import (
    TrustedKeys,
    arbiter_entity,
    memory_entity,
    node_identity,
)
from sage_perception.ros.lifecycle import LifecycleNode
from sage_perception.ros.message_form import sign_message
from sage_perception.ros.node_parameters.compressor import COMPRESSOR
from sage_perception.ros.relayed import RelayedFrame, RelayedVerifier
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Durations
from sage_perception.ros.tables import Topic
from sage_perception.trust.security.identity import Identity


@dataclass(frozen=True, eq=False)
class _Configured:
    """State that exists while the node is configured."""

    encoder: ContextEncoder
    identity: Identity


class CompressorNode(LifecycleNode):
    """Publishes contexts of the trusted LCTs of any number of cameras, and their codes."""

    PARAMETERS = COMPRESSOR
    SUBSCRIBES = (
        Topic('trusted', LCTArray, qos.DEFAULT, 'LCTs that the arbiter accepted, of any camera.'),
        Topic('agreement', AgreementArray, qos.DEFAULT, 'Crops that the arbiter matched.'),
        Topic('recall', LCTArray, qos.DEFAULT, 'LCTs that memory recalls, best first.'),
        Topic('{camera}/slots', LCTArray, qos.DEFAULT, 'Object slots, see `slot_model`.'),
        Topic('snarc', SnarcArray, qos.DEFAULT, 'SNARC scores of the observations.'),
    )
    PUBLISHES = (
        Topic('h_context', HContext, qos.DEFAULT, '4096-D contexts with their masks.'),
        Topic('l_latent', LCTArray, qos.DEFAULT, 'The 256-D code of each context, as an LCT.'),
    )
    SERVES = (CONTROL,)

    def __init__(self, **options: Any):
        super().__init__('compressor', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        parameters = self.parameters
        self._configured: _Configured | None = None
        self._newest_of: dict[str, RelayedFrame] = {}
        self._has_new_frame = False
        self._packers: dict[bytes, Packer] = {}
        self._durations = Durations()
        self._items = 0
        self._contexts = self.publisher('h_context')
        self._codes = self.publisher('l_latent')
        keys = TrustedKeys(self)
        serve_control(self, keys)
        arbiter = arbiter_entity(self)
        self._trusted = RelayedVerifier(self, 'trusted', keys, self._packers, arbiter)
        memory = memory_entity(self)
        self._recalled = RelayedVerifier(self, 'recall', keys, self._packers, memory)
        self._frames = self.subscribe('trusted', self._receive_frame, guard=self._trusted)
        self._slot_space: LatentSpace | None = None
        if parameters.slot_model:
            self._subscribe_slots(parameters.slot_model, keys)
        signed = (lambda: keys.store), keys.required
        by_arbiter = (lambda: [arbiter]) if keys.required else None
        by_memory = (lambda: [memory]) if keys.required else None
        self._agreements = AuthenticatedInput(
            self, 'agreement', self._receive_agreement, *signed, by_arbiter, timeout_s=0
        )
        self.subscribe('recall', self._receive_recall, timeout_s=0, guard=self._recalled)
        self._scores = AuthenticatedInput(
            self, 'snarc', self._receive_scores, *signed, by_memory, timeout_s=0
        )
        self.add_timer(1 / self.parameters.rate, self._publish)
        self.diagnostics.add('context', self._report)

    def _subscribe_slots(self, name: str, keys: TrustedKeys) -> None:
        """Subscribe to the slots of the primary camera, latents of the model `name`."""
        try:
            model = artifact.read(resolve(name))
            mean, std = (model.tensor(each) for each in (LATENT_MEAN, LATENT_STD))
            self._slot_space = LatentSpace.of(model.id, mean.ravel(), std.ravel())
            packers = packers_of(name)
        except (models.ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'slot_model': {error}") from error
        camera = self.parameters.cameras[0]
        self._slots = RelayedVerifier(self, f'{camera}/slots', keys, packers)
        self.subscribe(
            '{camera}/slots', self._receive_slots, camera, timeout_s=0, guard=self._slots
        )

    def configure(self) -> None:
        """Load the model and run it once to warm it up."""
        parameters = self.parameters
        identity = node_identity(self)
        try:
            encoder = ContextEncoder(
                models.load_compressor(parameters.model, backend=parameters.backend),
                list(self.camera_entities().values()),
                parameters.window_s,
            )
        except (models.ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        encoder.warm_up()
        compressor = encoder.compressor
        self._packers[compressor.latents.fingerprint] = encoder.packer
        self._configured = _Configured(encoder, identity)
        self.get_logger().info(
            f'loaded {compressor.id} on {compressor.backend}, for contexts of '
            f'{compressor.latents.name}; entity {identity.entity_id!r}, '
            f'public key: {identity.public_key}'
        )

    @property
    def _working(self) -> _Configured | None:
        """Return the state of an active node, None for one that is not."""
        return self._configured if self.active else None

    def _receive_frame(self, message: LCTArray, publisher: bytes) -> None:
        """Add the verified frames of an array to the context."""
        if (working := self._working) is None:
            return
        now_s = self.get_clock().now().nanoseconds * 1e-9
        for frame in self._trusted.frames(message, publisher):
            try:
                working.encoder.builder.add_frame(
                    frame.camera, frame.stamp_ns * 1e-9, frame.size, frame.lcts, now_s
                )
            except ContextError as error:
                self._frames.reject(str(error))
            else:
                # Cameras that the context has dropped are dropped here.
                kept = {*working.encoder.builder.cameras}
                self._newest_of = {c: f for c, f in self._newest_of.items() if c in kept}
                self._newest_of[frame.camera] = frame
                self._has_new_frame = True

    def _receive_agreement(self, message: AgreementArray) -> None:
        if (working := self._working) is None:
            return
        try:
            pairs = agreements_from_msg(message)
        except ValueError as error:
            self._agreements.reject(str(error))
            return
        stamp_s = stamp_from_msg(message.header.stamp) * 1e-9
        working.encoder.builder.add_agreement(stamp_s, pairs)

    def _receive_recall(self, message: LCTArray, publisher: bytes) -> None:
        if (working := self._working) is None:
            return
        recalled = self._recalled.lcts(message, publisher)
        # An empty recall has no LCT that could be signed.
        if recalled or not self.parameters.require_signatures:
            working.encoder.builder.set_recall([lct.latent for lct in recalled])

    def _receive_slots(self, message: LCTArray, publisher: bytes) -> None:
        if (working := self._working) is None:
            return
        for frame in self._slots.frames(message, publisher):
            latents = [lct.latent for lct in frame.lcts]
            working.encoder.builder.set_slots(latents, self._slot_space)

    def _receive_scores(self, message: SnarcArray) -> None:
        if (working := self._working) is None:
            return
        scores = {score.track_id: snarc_from_msg(score.snarc) for score in message.scores}
        stamp_s = stamp_from_msg(message.header.stamp) * 1e-9
        try:
            working.encoder.builder.add_scores(message.camera, stamp_s, scores)
        except ContextError as error:
            self._scores.reject(str(error))

    def _publish(self) -> None:
        """Publish the present context and its code if a frame arrived since the last context."""
        if (working := self._working) is None or not self._has_new_frame:
            return
        start_s = time.perf_counter()
        self._has_new_frame = False
        # The stamp of the frame: that of the context is rounded to some hundred nanoseconds.
        newest = max(self._newest_of.values(), key=lambda frame: frame.stamp_ns)
        encoded = working.encoder.encode(newest.stamp_ns, working.identity)
        if self._contexts.get_subscription_count():
            model = working.encoder.compressor.latents
            message = _context_message(encoded.context, model, newest.header)
            self._contexts.publish(sign_message(message, working.identity))
        array = LCTArray(header=newest.header)
        if encoded.lct is not None:
            array.lcts.append(lct_to_msg(working.identity.sign(encoded.lct)))
        self._codes.publish(array)
        self._items = len(encoded.context.keys)
        self._durations.add(time.perf_counter() - start_s)

    def cleanup(self) -> None:
        """Release the model, the key, and all observations."""
        self._configured = None
        self._packers.clear()
        self._newest_of.clear()
        self._has_new_frame = False

    def _report(self) -> Status:
        if self._configured is None:
            return WARN, 'no model: not configured', {}
        encoder, identity = self._configured.encoder, self._configured.identity
        figures = {
            'model': encoder.compressor.id,
            'backend': encoder.compressor.backend,
            'cameras': ', '.join(encoder.builder.cameras),
            'items': self._items,
            'energy_retained': encoder.retained,
            'public_key': identity.public_key,
            'context_p50_ms': self._durations.percentile_ms(50),
            'context_p95_ms': self._durations.percentile_ms(95),
            'active': self.active,
        }
        if not self.active:
            return WARN, 'not active', figures
        return OK, 'compressing' if identity.key else 'compressing, unsigned', figures


def _context_message(context: Context, model: ModelId, header: Header) -> HContext:
    """Return a context of latents of `model` as a message."""
    latent = Latent(context.values, kind=LatentKind.H_CONTEXT, model=model)
    return HContext(
        header=header,
        layout=context.layout,
        cameras=list(context.cameras),
        mask=np.packbits(context.mask),
        latent=latent_to_msg(latent),
    )


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(CompressorNode, args))


if __name__ == '__main__':
    main()
