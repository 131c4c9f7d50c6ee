# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Makes one context of what all cameras have shown lately, and compresses it to 256 numbers."""

from __future__ import annotations

import sys
import time

import numpy as np
from sage_msgs.msg import AgreementArray, HContext, LCTArray
from std_msgs.msg import Header

from sage_perception import context, models
from sage_perception.context import ContextBuilder, LatentSpace, Match
from sage_perception.latent import Latent, LatentKind, Telemetry
from sage_perception.models import codebook
from sage_perception.models.compressor import Compressor
from sage_perception.models.wire import Packer
from sage_perception.ros import qos
from sage_perception.ros.diagnostics import OK, WARN, Durations, Report
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.messages import (
    check_entity,
    latent_message,
    lct_message,
    lct_value,
    stamp_of,
)
from sage_perception.ros.node import AUTOSTART, CAMERAS, LifecycleNode, Topic, run
from sage_perception.ros.parameters import Parameter
from sage_perception.trust.keys import KeyFault
from sage_perception.trust.lct import (
    LCT,
    LONGEST_CHAIN,
    Operation,
    Provenance,
    chain_trust,
)
from sage_perception.trust.signing import signing_key, signs_with


class CompressorNode(LifecycleNode):
    """Turns the trusted LCTs of any number of cameras into contexts, and those into codes."""

    PARAMETERS = (
        AUTOSTART,
        CAMERAS,
        Parameter(
            'model',
            'h_to_l_hybrid',
            'Compressor: the name of one that ships with sage, or the folder of an artefact.',
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
        Parameter(
            'key',
            '',
            'Secret key that codes are signed with: its file, or the folder that holds it, as '
            'made by `sage keys create`; empty: they are not signed.',
            read_only=True,
        ),
    )
    SUBSCRIBES = (
        Topic('trusted', LCTArray, qos.DATA, "The arbiter's: LCTs that may be believed."),
        Topic('agreement', AgreementArray, qos.DATA, "The arbiter's: crops that were matched."),
        Topic('recall', LCTArray, qos.DATA, 'What memory recalls for now, best first.'),
    )
    PUBLISHES = (
        Topic('h_context', HContext, qos.DATA, 'Contexts of 4096 numbers, with their masks.'),
        Topic(
            'l_latent', LCTArray, qos.DATA, 'Each context compressed to 256 numbers, as an LCT.'
        ),
    )

    def __init__(self, **options):
        super().__init__('compressor', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        self._compressor: Compressor | None = None
        self._builder: ContextBuilder | None = None
        self._key = None
        self._entity = check_entity(f'{self.get_namespace()}/{self.get_name()}'.strip('/'))
        # Later than any this entity has used before, so that a restart is no replay.
        self._sequence = time.time_ns()
        self._eyes: dict[str, str] = {}  # the camera of each frame id, for frames without LCTs
        self._newest: Header | None = None
        self._took = Durations()
        self._kept = self._items = 0.0
        self._contexts = self.publisher('h_context')
        self._codes = self.publisher('l_latent')
        self._trusted = self.subscribe('trusted', self._see)
        self.subscribe('agreement', self._agree, timeout_s=0)
        self._recalled = self.subscribe('recall', self._recall, timeout_s=0)
        self.create_timer(1 / self.parameters.rate, self._tell)
        self.diagnostics.add('context', self._report)

    def configure(self) -> None:
        """Load the model and run it once, so that the first context is not late."""
        wanted = self.parameters
        try:
            self._key = signing_key(wanted.key, self._entity)
        except KeyFault as error:
            raise ConfigurationError(f"parameter 'key': {error}") from error
        try:
            compressor = models.load(wanted.model, backend=wanted.backend)
            if not isinstance(compressor, Compressor):
                raise models.ModelError(
                    f'{compressor.id} codes pictures, it compresses no context'
                )
            if compressor.layout != context.LAYOUT:
                raise models.ModelError(
                    f'{compressor.id} is for layout {compressor.layout} of contexts, this is '
                    f'layout {context.LAYOUT}: train it again'
                )
            space = LatentSpace.of(compressor.latents, compressor.space_mean, compressor.space_std)
        except (models.ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        blank = np.zeros((1, context.DIM), np.float32)
        compressor.decompress(compressor.compress(blank, blank))
        self._compressor = compressor
        self._packers = {compressor.latents.fingerprint: self._packer(compressor)}
        self._builder = ContextBuilder(
            space, [self._speaker(camera) for camera in wanted.cameras], wanted.window_s
        )
        self.get_logger().info(
            f'{compressor.id} on {compressor.backend}, for contexts of {compressor.latents.name}; '
            f'speaks as {self._entity!r}, signs with {signs_with(self._key)}'
        )

    def _packer(self, compressor: Compressor) -> Packer:
        """Return what reads packed latents; tokens only where their model is installed here."""
        folder = models.available().get(compressor.latents.name)
        book = codebook.read(folder) if folder else None
        if book is not None and book.fingerprint != compressor.latents.fingerprint:
            book = None
        return Packer(compressor.space_mean, compressor.space_std, book)

    def _speaker(self, camera: str) -> str:
        """Return who speaks for a camera: its namespace."""
        if camera.startswith('/'):
            return camera.strip('/')
        return f'{self.get_namespace()}/{camera}'.strip('/')

    def _see(self, message: LCTArray) -> None:
        """Take a frame of the camera whose encoder spoke first, whoever passed it on."""
        if not self.active:
            return
        try:
            lcts = [lct_value(lct, self._packers) for lct in message.lcts]
            if lcts:
                camera = lcts[0].provenance[0].entity_id if lcts[0].provenance else ''
                camera = self._eyes[message.header.frame_id] = camera or lcts[0].entity_id
            else:
                camera = self._eyes.get(message.header.frame_id)
            if camera is None:
                return
            size = message.source_width, message.source_height
            stamp = message.header.stamp
            self._builder.see(camera, stamp.sec + stamp.nanosec * 1e-9, size, lcts)
        except ValueError as error:
            self._trusted.reject(str(error))
            return
        self._newest = message.header

    def _agree(self, message: AgreementArray) -> None:
        if self.active:
            stamp = message.header.stamp
            self._builder.agree(
                stamp.sec + stamp.nanosec * 1e-9,
                [
                    Match(bytes(pair.lct_a), bytes(pair.lct_b), pair.similarity)
                    for pair in message.agreements
                ],
            )

    def _recall(self, message: LCTArray) -> None:
        if not self.active:
            return
        try:
            self._builder.recall([lct_value(lct, self._packers).latent for lct in message.lcts])
        except ValueError as error:
            self._recalled.reject(str(error))

    def _tell(self) -> None:
        """Publish the context of now, if there is anything new, and its code."""
        if not self.active or self._newest is None:
            return
        begun = time.perf_counter()
        newest, self._newest = self._newest, None
        made = self._builder.build()
        header = Header(stamp=stamp_of(round(made.stamp_s * 1e9)), frame_id=newest.frame_id)
        if self._contexts.get_subscription_count():
            self._contexts.publish(self._message(made, header))
        array = LCTArray(header=header)
        if made.keys:
            array.lcts.append(lct_message(self._compressed(made, begun), key=self._key))
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
            latent=latent_message(latent),
        )

    def _compressed(self, made: context.HContext, begun: float) -> LCT:
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
        room = max(LONGEST_CHAIN - len(leader.provenance), 1)
        named = {step.parent_id for step in leader.provenance}
        parents = [leader.id]
        parents += [lct.id for lct in others[1:] if lct.id not in named][: room - 1]
        steps = tuple(
            Provenance(Operation.COMPRESS, self._entity, model, parent, hop if not number else 1.0)
            for number, parent in enumerate(parents)
        )
        chain = leader.provenance + steps
        telemetry = Telemetry(
            trust=self._kept,
            kl_per_dim=float(np.mean(np.square(mean) + np.exp(log_var) - 1 - log_var) / 2),
            latent_norm=float(np.linalg.norm(mean)),
            time_s=time.perf_counter() - begun,
        )
        latent = Latent(mean[0], log_var[0], LatentKind.L_CONTEXT, model, telemetry=telemetry)
        self._sequence += 1
        stamp_ns = round(made.stamp_s * 1e9)
        return LCT(self._entity, self._sequence, stamp_ns, latent, chain, chain_trust(chain))

    def cleanup(self) -> None:
        """Let go of the model, the key and what was seen."""
        self._compressor = self._builder = self._key = self._newest = None

    def _report(self) -> Report:
        if self._compressor is None:
            return WARN, 'no model: not configured', {}
        figures = {
            'model': self._compressor.id,
            'backend': self._compressor.backend,
            'cameras': ', '.join(self._builder.cameras),
            'items': self._items,
            'energy_retained': self._kept,
            'signs_with': signs_with(self._key),
            'context_p50_ms': self._took.percentile_ms(50),
            'context_p95_ms': self._took.percentile_ms(95),
            'active': self.active,
        }
        if not self.active:
            return WARN, 'not active', figures
        return OK, 'compressing' if self._key else 'compressing, unsigned', figures


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(CompressorNode, args))


if __name__ == '__main__':
    main()
