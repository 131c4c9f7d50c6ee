# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Makes one context of what all cameras have shown lately, and compresses it to 256 numbers."""

from __future__ import annotations

import sys
import time
from dataclasses import fields

import numpy as np
from sage_msgs.msg import AgreementArray, HContext, LCTArray, SnarcArray
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.codecs import codebook
from sage_perception.codecs.packing import Packer
from sage_perception.context import context
from sage_perception.context.context import ContextBuilder, ContextError, LatentSpace, Match
from sage_perception.core.latent import Latent, LatentKind, Telemetry
from sage_perception.core.lct import LCT, Operation, Provenance, step_from
from sage_perception.core.metrics import kl_per_dim
from sage_perception.memory import Snarc
from sage_perception.ros import qos
from sage_perception.ros.common_parameters import AUTOSTART, CAMERA_ENTITIES, CAMERAS
from sage_perception.ros.conversions.latents import latent_to_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.endpoints import Topic
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import KEY, KEYS, REQUIRE_SIGNATURES, Identity, TrustedKeys
from sage_perception.ros.lifecycle import LifecycleNode
from sage_perception.ros.parameters import Parameter
from sage_perception.ros.relayed import Frame, RelayedVerifier
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Durations
from sage_perception.trust.security.rejection import MAX_CHAIN


class CompressorNode(LifecycleNode):
    """Turns the trusted LCTs of any number of cameras into contexts, and those into codes."""

    PARAMETERS = (
        AUTOSTART,
        CAMERAS,
        CAMERA_ENTITIES,
        Parameter(
            'model',
            'h_to_l_hybrid',
            'Compressor: the name of one that ships with sage, or the folder of an artifact.',
            read_only=True,
        ),
        Parameter(
            'backend',
            'auto',
            'What runs the model; auto: ONNX Runtime where it is installed.',
            choices=('auto', 'torch', 'onnxruntime'),
            read_only=True,
        ),
        Parameter(
            'rate',
            5.0,
            'Contexts a second at most, Hz; none without new frames.',
            minimum=0.1,
            maximum=30.0,
            read_only=True,
        ),
        Parameter(
            'window_s',
            2.0,
            'How long what was seen belongs to the context, seconds.',
            minimum=0.2,
            maximum=30.0,
            read_only=True,
        ),
        REQUIRE_SIGNATURES,
        KEYS,
        KEY,
    )
    SUBSCRIBES = (
        Topic('trusted', LCTArray, qos.DEFAULT, "The arbiter's: LCTs that may be believed."),
        Topic('agreement', AgreementArray, qos.DEFAULT, "The arbiter's: crops that were matched."),
        Topic('recall', LCTArray, qos.DEFAULT, 'What memory recalls for now, best first.'),
        Topic('snarc', SnarcArray, qos.DEFAULT, "Memory's: how salient it finds what is seen."),
    )
    PUBLISHES = (
        Topic('h_context', HContext, qos.DEFAULT, 'Contexts of 4096 numbers, with their masks.'),
        Topic(
            'l_latent', LCTArray, qos.DEFAULT, 'Each context compressed to 256 numbers, as an LCT.'
        ),
    )

    def __init__(self, **options):
        super().__init__('compressor', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        self._compressor: models.Compressor | None = None
        self._builder: ContextBuilder | None = None
        self._speaker: Identity | None = None
        self._newest: dict[str, Frame] = {}  # of each camera
        self._fresh = False
        self._packers: dict[bytes, Packer] = {}
        self._took = Durations()
        self._kept = self._items = 0.0
        self._contexts = self.publisher('h_context')
        self._codes = self.publisher('l_latent')
        keys = TrustedKeys(self)
        self._trusted = RelayedVerifier(self, 'trusted', keys, self._packers)
        self._recalled = RelayedVerifier(self, 'recall', keys, self._packers)
        self._seen = self.subscribe('trusted', self._see, guard=self._trusted)
        self.subscribe('agreement', self._agree, timeout_s=0)
        self.subscribe('recall', self._recall, timeout_s=0, guard=self._recalled)
        self._scored = self.subscribe('snarc', self._score, timeout_s=0)
        self.create_timer(1 / self.parameters.rate, self._tell)
        self.diagnostics.add('context', self._report)

    def configure(self) -> None:
        """Load the model and run it once, so that the first context is not late."""
        wanted = self.parameters
        self._speaker = Identity(self)
        try:
            compressor = models.load_compressor(wanted.model, backend=wanted.backend)
            if compressor.layout != context.LAYOUT:
                raise models.ModelError(
                    f'{compressor.id} is for layout {compressor.layout} of contexts, this is '
                    f'layout {context.LAYOUT}: train it again'
                )
            mean, std = compressor.space_mean, compressor.space_std
            space = LatentSpace.of(compressor.latents, mean, std)
            packer = Packer(mean, std, codebook.installed(compressor.latents))
        except (models.ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        blank = np.zeros((1, context.DIM), np.float32)
        compressor.decompress(compressor.compress(blank, blank))
        self._compressor = compressor
        self._packers[compressor.latents.fingerprint] = packer
        self._builder = ContextBuilder(
            space, list(self.camera_entities().values()), wanted.window_s
        )
        self.get_logger().info(
            f'{compressor.id} on {compressor.backend}, for contexts of {compressor.latents.name}; '
            f'speaks as {self._speaker.entity!r}, signs with {self._speaker.signs_with}'
        )

    def _see(self, message: LCTArray, publisher: bytes) -> None:
        """Take a frame of the camera whose encoder spoke first, whoever passed it on."""
        if not self.active:
            return
        for frame in self._trusted.frames(message, publisher):
            try:
                self._builder.see(frame.camera, frame.stamp_ns * 1e-9, frame.size, frame.lcts)
            except ContextError as error:
                self._seen.reject(str(error))
            else:
                self._newest[frame.camera] = frame
                self._fresh = True

    def _agree(self, message: AgreementArray) -> None:
        if self.active:
            self._builder.agree(
                stamp_from_msg(message.header.stamp) * 1e-9,
                [
                    Match(bytes(pair.lct_a), bytes(pair.lct_b), pair.similarity)
                    for pair in message.agreements
                ],
            )

    def _recall(self, message: LCTArray, publisher: bytes) -> None:
        if not self.active:
            return
        recalled = self._recalled.lcts(message, publisher)
        # Nobody signs that nothing is recalled.
        if recalled or not self.parameters.require_signatures:
            self._builder.recall([lct.latent for lct in recalled])

    def _score(self, message: SnarcArray) -> None:
        if not self.active:
            return
        scores = {
            score.track_id: Snarc(*(getattr(score.snarc, part.name) for part in fields(Snarc)))
            for score in message.scores
        }
        try:
            stamp_s = stamp_from_msg(message.header.stamp) * 1e-9
            self._builder.score(message.camera, stamp_s, scores)
        except ValueError as error:
            self._scored.reject(str(error))

    def _tell(self) -> None:
        """Publish the context of now, if there is anything new, and its code."""
        if not self.active or not self._fresh:
            return
        begun = time.perf_counter()
        self._fresh = False
        made = self._builder.build()
        # Its own stamp: seconds in float64 are some hundred nanoseconds apart.
        newest = max(self._newest.values(), key=lambda frame: frame.stamp_ns)
        if self._contexts.get_subscription_count():
            self._contexts.publish(self._message(made, newest.header))
        array = LCTArray(header=newest.header)
        if made.keys:
            code = self._compressed(made, newest.stamp_ns, begun)
            array.lcts.append(self._speaker.say(code))
        self._codes.publish(array)
        self._items = len(made.keys)
        self._took.add(time.perf_counter() - begun)

    def _message(self, made: context.HContext, header: Header) -> HContext:
        latent = Latent(made.values, kind=LatentKind.H_CONTEXT, model=self._compressor.latents)
        return HContext(
            header=header,
            layout=made.layout,
            cameras=list(made.cameras),
            mask=np.packbits(made.mask),
            latent=latent_to_msg(latent),
        )

    def _compressed(self, made: context.HContext, stamp_ns: int, begun: float) -> LCT:
        """Return the code of a context, answerable for what it was made of.

        It hangs on the most salient LCT; a context has more parents than a chain has room for, so
        the most salient ones are named. What it loses of the context costs trust, and so does
        what the others are believed less than that one.
        """
        mean, log_var = self._compressor.compress_stats(made.values[None], made.mask[None])
        apart = (self._compressor.decompress(mean)[0] - made.values) * made.mask
        told = np.square(made.values, dtype=np.float64).sum()
        self._kept = float(np.clip(1 - np.square(apart).sum() / max(told, 1e-12), 0, 1))
        leader = self._builder.newest(made.keys[0])
        others = [self._builder.newest(key) for key in made.keys]
        believed = np.mean([lct.trust for lct in others])
        hop = self._kept * min(believed / leader.trust, 1.0) if leader.trust else 0.0
        model = self._compressor.id
        entity, compress = self._speaker.entity, Operation.COMPRESS
        chain = (*leader.provenance, step_from(leader, compress, entity, model, hop))
        named = {step.parent_id for step in chain}
        for lct in others[1:]:
            if lct.id not in named and len(chain) < MAX_CHAIN:
                chain += (Provenance(compress, entity, model, lct.id),)
        telemetry = Telemetry(
            trust=self._kept,
            kl_per_dim=float(kl_per_dim(mean[0], log_var[0])),
            latent_norm=float(np.linalg.norm(mean)),
            time_s=time.perf_counter() - begun,
        )
        latent = Latent(mean[0], log_var[0], LatentKind.L_CONTEXT, model, telemetry=telemetry)
        return LCT.derived(
            latent,
            chain,
            entity_id=entity,
            sequence=self._speaker.next(),
            stamp_ns=stamp_ns,
        )

    def cleanup(self) -> None:
        """Let go of the model, the key and what was seen."""
        self._compressor = self._builder = self._speaker = None
        self._packers.clear()
        self._newest.clear()
        self._fresh = False

    def _report(self) -> Status:
        if self._compressor is None:
            return WARN, 'no model: not configured', {}
        figures = {
            'model': self._compressor.id,
            'backend': self._compressor.backend,
            'cameras': ', '.join(self._builder.cameras),
            'items': self._items,
            'energy_retained': self._kept,
            'signs_with': self._speaker.signs_with,
            'context_p50_ms': self._took.percentile_ms(50),
            'context_p95_ms': self._took.percentile_ms(95),
            'active': self.active,
        }
        if not self.active:
            return WARN, 'not active', figures
        return OK, 'compressing' if self._speaker.key else 'compressing, unsigned', figures


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(CompressorNode, args))


if __name__ == '__main__':
    main()
