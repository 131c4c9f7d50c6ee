# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Computes the summary of a replay from its events."""

from __future__ import annotations

import numpy as np

from sage_perception.core.lct import LCT
from sage_perception.regression.events import (
    AgreementEvent,
    CodeEvent,
    Event,
    FrameEvent,
    FusedEvent,
    LctEvent,
    MemoryEvent,
    TrustEvent,
)
from sage_perception.regression.summary import Accumulator, Summary, projected
from sage_perception.regression.timebase import Timebase
from sage_perception.vision.camera_health import Fault


class Summarizer:
    """An observer of events that accumulates a `Summary`; memory grows by some KB a second."""

    def __init__(self, summary: Summary) -> None:
        self._values = Accumulator(summary)
        self._timebase = Timebase()

    def __call__(self, event: Event) -> None:
        """Add one event."""
        if isinstance(event, FrameEvent):
            self._add_frame(event)
        elif isinstance(event, LctEvent):
            self._add_lcts(event)
        elif isinstance(event, TrustEvent):
            self._add_trust(event)
        elif isinstance(event, AgreementEvent):
            self._add_agreement(event)
        elif isinstance(event, FusedEvent):
            self._add_fused(event)
        elif isinstance(event, MemoryEvent):
            self._add_memory(event)
        elif isinstance(event, CodeEvent):
            self._add_code(event)

    def finish(self) -> Summary:
        """Complete the last seconds and return the summary."""
        return self._values.finish()

    def _add_frame(self, event: FrameEvent) -> None:
        stream = f'{event.camera}/crops'
        time_s = self._timebase.elapsed_s(stream, event.stamp_ns)
        whole = self._values.at(stream, time_s)
        if event.rejected:
            whole.count('rejected_frames')
            return
        whole.count('frames')
        if event.fault > Fault.NONE:
            whole.count(f'fault.{event.fault.name.lower()}')
        for region in event.regions:
            track = self._values.at(stream, time_s, region.track)
            track.count('frames')
            x, y = region.roi.center
            for what, value in (
                ('x', x),
                ('y', y),
                ('width', region.roi.width),
                ('height', region.roi.height),
                ('score', region.score),
            ):
                track.add(what, value)

    def _add_lcts(self, event: LctEvent) -> None:
        stream = f'{event.camera}/lcts'
        time_s = self._timebase.elapsed_s(stream, event.stamp_ns)
        whole = self._values.at(stream, time_s)
        whole.count('frames')
        whole.count('lcts', len(event.accepted))
        for reason, number in event.rejected.items():
            whole.count(f'rejected.{reason}', number)
        if event.size_bytes:
            whole.add('bytes', event.size_bytes)
        for lct in event.accepted:
            track = self._values.at(stream, time_s, lct.latent.track_id)
            track.count('frames')
            track.add('trust', lct.trust)
            track.add('error', lct.latent.telemetry.reconstruction_error)
            track.add('norm', float(np.linalg.norm(lct.latent.mean)))
            track.add('latent', projected(lct.latent.mean))

    def _add_trust(self, event: TrustEvent) -> None:
        stream = f'{event.camera}/trust'
        values = self._values.at(stream, self._timebase.elapsed_s(stream, event.stamp_ns))
        values.add('reputation', event.reputation)
        values.add('compression_trust', event.compression_trust)

    def _add_agreement(self, event: AgreementEvent) -> None:
        stream = f'{event.camera_a}+{event.camera_b}/agreement'
        time_s = self._timebase.elapsed_s(stream, event.stamp_ns)
        self._values.at(stream, time_s).count('frames')
        for pair in event.pairs:
            for track in ('', f'{pair.track_a}+{pair.track_b}'):
                values = self._values.at(stream, time_s, track)
                values.count('matches')
                values.count('agreements', int(pair.agrees))
                values.add('similarity', pair.similarity)

    def _add_fused(self, event: FusedEvent) -> None:
        time_s = self._timebase.elapsed_s('fused', event.stamp_ns)
        whole = self._values.at('fused', time_s)
        whole.count('frames')
        whole.count('lcts', len(event.lcts))
        for lct in event.lcts:
            whole.add('trust', lct.trust)
            track = self._values.at('fused', time_s, lct.latent.track_id)
            track.count('frames')
            track.add('trust', lct.trust)

    def _add_memory(self, event: MemoryEvent) -> None:
        stream = f'{event.camera}/memory'
        time_s = self._timebase.elapsed_s(stream, event.stamp_ns)
        for each in event.observations:
            lct: LCT = each.lct
            for track in ('', str(lct.latent.track_id)):
                values = self._values.at(stream, time_s, track)
                values.count('observed')
                values.count('stored', int(each.stored))
            self._values.at(stream, time_s, lct.latent.track_id).add(
                'salience', each.snarc.salience
            )

    def _add_code(self, event: CodeEvent) -> None:
        values = self._values.at('code', self._timebase.elapsed_s('code', event.stamp_ns))
        values.count('frames')
        values.add('items', event.items)
        values.add('retained', event.retained)
        values.add('code', projected(event.code))
