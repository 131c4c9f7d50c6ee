# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The topic `lcts` of an encoder node: which latents of a frame it sends, packed and signed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sage_msgs.msg import CropArray

from sage_perception.core.latent import Latent, Telemetry
from sage_perception.pipeline.crop_encoder import CropEncoder, EncodedCrops
from sage_perception.pipeline.sending import LatentSender, SendingPolicy
from sage_perception.ros.array_sizes import ArraySizes
from sage_perception.ros.conversions.latents import latent_size_bytes, pack
from sage_perception.ros.conversions.lct_arrays import PackedLCT, check_region, lct_array_to_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.local_bus import TopicPublisher
from sage_perception.ros.parameters import Parameters
from sage_perception.ros.statistics import ByteRate
from sage_perception.trust.security.canonical import Wire
from sage_perception.trust.security.identity import Identity


class LCTOutput:
    """Sends the latents of the frames of one camera, as the `parameters` of the node demand.

    `encoder` packs them, `identity` signs them, and `reject` is called with the reason for each
    latent that cannot be sent.
    """

    def __init__(
        self,
        parameters: Parameters,
        publisher: TopicPublisher,
        encoder: CropEncoder,
        identity: Identity,
        reject: Callable[[str], None],
    ) -> None:
        self._telemetry: bool = parameters.telemetry
        self._publisher, self._reject = publisher, reject
        self._encoder, self._identity = encoder, identity
        policy = SendingPolicy(parameters.send_on_change, parameters.max_bytes_per_s)
        self._sender = LatentSender(encoder.codec.latent_mean.ravel(), policy)
        self._latent_bytes = float('nan')
        self._sent, self._sizes = ByteRate(), ArraySizes()

    def select(
        self, frame: CropArray, encoded: EncodedCrops, saliences: Sequence[float]
    ) -> list[PackedLCT]:
        """Return the LCTs of a frame to send, and their wire encodings.

        The codes of latents that are not sent are kept for the next ones of their tracks.
        """
        encoder, stamp_ns = self._encoder, stamp_from_msg(frame.header.stamp)
        found: list[tuple[Latent, Wire, float]] = []
        for latent, salience in zip(encoded.latents, saliences, strict=True):
            lean = latent
            if not self._telemetry:
                only = Telemetry.trust_only(latent.telemetry.trust)
                lean = replace(latent, telemetry=only, log_var=None)
            try:
                check_region(lean)
                found.append((lean, pack(lean, encoder.encoding, encoder.packer), salience))
            except ValueError as error:
                self._reject(str(error))
        latents = [latent for latent, _, _ in found]
        sizes = [latent_size_bytes(latent, wire) for latent, wire, _ in found]
        chosen = self._sender.select(
            latents, sizes, [salience for _, _, salience in found], stamp_ns
        )
        if encoder.codes is not None:
            for unsent in set(range(len(latents))) - set(chosen):
                encoder.codes.keep(latents[unsent].track_id)
        lcts = encoder.lcts([latents[n] for n in chosen], stamp_ns, self._identity)
        return list(zip(lcts, [found[n][1] for n in chosen], strict=True))

    def publish(self, frame: CropArray, lcts: Sequence[PackedLCT]) -> None:
        """Publish the LCTs of a frame, signed."""
        size = frame.source_width, frame.source_height
        entity, key = self._identity.entity_id, self._identity.key
        try:
            array = lct_array_to_msg(frame.header, size, entity, lcts, key)
        except ValueError as error:
            self._reject(str(error))
            return
        if lcts:
            payloads = [code.payload for crop in array.crops for code in crop.codes]
            self._latent_bytes = sum(map(len, payloads)) / len(lcts)
        self._publisher.publish(array)
        if self._publisher.uses_dds:
            self._sent.add(self._sizes.of(array))

    @property
    def figures(self) -> dict[str, Any]:
        """Return values for diagnostics."""
        return {
            'encoding': self._encoder.encoding.name.lower(),
            'bytes_per_latent': self._latent_bytes,
            'message_bytes_per_s': self._sent.per_s,
            'latents_unchanged': self._sender.unchanged,
            'latents_over_byte_rate': self._sender.limited,
        }
