# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The HTML report of a run of the demo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from sage_perception.cli.demo.measure import Run
from sage_perception.codecs.latent_decoder import LatentDecoder
from sage_perception.core.lct import LCT
from sage_perception.core.text import one_line
from sage_perception.regression.events import FrameEvent, LctEvent, Region
from sage_perception.reports.environment import environment
from sage_perception.reports.html.report import (
    Chart,
    FrameImage,
    Moment,
    Report,
    Series,
    Style,
    Table,
)
from sage_perception.reports.moments import MomentCollector, Wanted
from sage_perception.ros.conversions.crops import crop_from_msg
from sage_perception.ros.conversions.lct_arrays import lct_messages
from sage_perception.ros.conversions.lcts import packed_lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.vision.camera_health import Fault

SHOWN = (0.25, 0.5, 0.75)
"""Times of the images, as fractions of the run."""

Message = tuple[str, Any, int]
"""Topic, message and receive time (ns)."""


class Strips:
    """Keeps the crops and LCTs of a few moments while the messages of a bag are read."""

    def __init__(self, cameras: Sequence[str], since_ns: int, duration_s: float) -> None:
        self._cameras, self._since_ns = tuple(cameras), since_ns
        self._collector = MomentCollector(
            [Wanted('Two cameras', share * duration_s, self._cameras) for share in SHOWN]
        )
        self._decoder = LatentDecoder()
        self.problems: set[str] = set()

    def observe(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Yield the messages unchanged."""
        for topic, message, received_ns in messages:
            camera, _, name = topic.strip('/').rpartition('/')
            if camera in self._cameras and name in ('crops', 'lcts'):
                stamp_ns = stamp_from_msg(message.header.stamp)
                if stamp_ns >= self._since_ns:
                    try:
                        self._collector(self._event(camera, name, message, stamp_ns))
                    except ValueError as error:
                        self.problems.add(f'{topic}: {one_line(error)}')
            yield topic, message, received_ns

    def moments(self) -> tuple[Moment, ...]:
        """Return the moments with the images decoded from the LCTs."""
        return self._collector.moments(self._decoder)

    def _event(self, camera: str, name: str, message: Any, stamp_ns: int) -> FrameEvent | LctEvent:
        """Return the event of a message; raises `ValueError` for a malformed one."""
        if name == 'lcts':
            lcts = [self._lct(each) for each in lct_messages(message)]
            return LctEvent(camera, stamp_ns, lcts)
        crops = [crop_from_msg(crop) for crop in message.crops]
        inputs = None
        if crops:
            stacked = np.stack([np.atleast_3d(crop.image) for crop in crops])
            inputs = stacked.transpose(0, 3, 1, 2).astype(np.float32) / 255
        regions = [Region(crop.track_id, crop.roi, crop.score) for crop in crops]
        size = message.source_width, message.source_height
        return FrameEvent(camera, stamp_ns, size, Fault(message.fault), regions, inputs=inputs)

    def _lct(self, message: Any) -> LCT:
        """Return the LCT of a message, its latent unpacked."""
        lct, _ = packed_lct_from_msg(message)
        mean = self._decoder.values(message.latent)
        return lct if mean is None else replace(lct, latent=replace(lct.latent, mean=mean))


def demo_report(
    run: Run,
    summary: Mapping[str, Any],
    moments: Sequence[Moment],
    target_ms: float,
    moved: Run | None = None,
) -> Report:
    """Return the report of a run and of the one with a moving camera, if there is one.

    `summary` is that of `run_demo`.
    """
    cameras = summary['cameras']
    facts: list[tuple[str, Any]] = [
        ('video', summary['footage']['video']),
        ('duration, s', summary['duration_s']),
        ('graph up after, s', summary['graph_up_s']),
    ]
    for name, camera in cameras.items():
        facts.append((f'{name}: frames attended', f'{camera["attended_share"]:.1%}'))
        facts.append((f'{name}: latency p95, ms', camera['latency_ms']['p95']))
    agreements = summary['agreements']
    facts.append(('agreements', f'{agreements["high"]} HIGH, {agreements["low"]} LOW'))
    return Report(
        title='Demo: two cameras',
        summary='Recorded from the running graph; times are seconds since the measurement began.',
        facts=tuple(facts),
        tables=tuple(_tables(summary)),
        charts=_charts(run, target_ms),
        moments=(
            *_mosaic(run, 'The mosaic with the most content'),
            *(() if moved is None else _mosaic(moved, 'The same while cam1 pans and shakes')),
            *moments,
        ),
        environment=(('bag', summary['bag']), *environment()),
    )


def _mosaic(run: Run, title: str) -> tuple[Moment, ...]:
    if not run.mosaic:
        return ()
    image = cv2.imdecode(np.frombuffer(run.mosaic, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return ()
    shown = FrameImage('mosaic of the viewer', cv2.cvtColor(image, cv2.COLOR_BGR2RGB), wide=True)
    seconds = max(run.mosaic_ns - _start_ns(run), 0) * 1e-9
    return (Moment(title, seconds, frames=(shown,)),)


def _start_ns(run: Run) -> int:
    """Return the stamp at which the plots start."""
    return min(
        (s for camera in run.cameras.values() for s in camera.published | camera.attended),
        default=0,
    )


def _charts(run: Run, target_ms: float) -> tuple[Chart, ...]:
    start_ns = _start_ns(run)

    def pairs(name: str, found: Sequence[tuple[int, float]], style: Style, scale: float) -> Series:
        array = np.array(sorted(found), float).reshape(-1, 2)
        return Series(name, (array[:, 0] - start_ns) * 1e-9, array[:, 1] * scale, style)

    def per_second(name: str, stamps: Iterable[int], weights: Sequence[float] = ()) -> Series:
        seconds = np.array([(stamp - start_ns) * 1e-9 for stamp in stamps])
        edges = np.arange(0, max(seconds.max(initial=0), 1) + 1)
        counts, _ = np.histogram(seconds, edges, weights=weights or None)
        return Series(name, edges[:-1], counts, Style.STEPS)

    rates, latency, trust, sizes = [], [], [], []
    for name, camera in run.cameras.items():
        rates.append(per_second(f'{name} published', sorted(camera.published)))
        rates.append(per_second(f'{name} attended', sorted(camera.attended)))
        latency.append(pairs(name, camera.latency, Style.POINTS, 1e3))
        trust.append(pairs(f'LCTs of {name}', camera.trust, Style.LINE, 1))
        stamps = [stamp for stamp, _ in camera.size_bytes]
        sizes.append(per_second(name, stamps, [size for _, size in camera.size_bytes]))
    for entity, reputation in run.reputation.items():
        trust.append(pairs(f'reputation of {entity}', reputation, Style.STEPS, 1))
    levels = {'HIGH': run.high, 'LOW': run.low}
    similarity = [pairs(name, found, Style.POINTS, 1) for name, found in levels.items()]
    counts = [per_second(name, [stamp for stamp, _ in found]) for name, found in levels.items()]
    return (
        Chart('Frames', 'per second', tuple(rates)),
        Chart(
            'Latency from the source stamp to the receipt of the latents',
            'ms',
            tuple(latency),
            target=target_ms,
        ),
        Chart('Trust of the entities', '', tuple(trust), (0.0, 1.0)),
        Chart('Agreements', 'per second', tuple(counts)),
        Chart('Similarity of matched crops', '', tuple(similarity), (-1.0, 1.0)),
        Chart('Bytes of the latents', 'bytes per second', tuple(sizes)),
    )


def _tables(summary: Mapping[str, Any]) -> list[Table]:
    rows = []
    for name, camera in summary['cameras'].items():
        replay = summary['replay'][name]
        latency = camera['latency_ms']
        rows.append(
            (
                *(name, camera['frames_published'], camera['frames_attended']),
                *(camera['crops'], camera['latents'], latency['p50'], latency['p95']),
                f'{replay["identical"]} of {replay["latents_recorded"]}',
            )
        )
    columns = ('camera', 'published', 'attended', 'crops', 'latents', 'p50 ms', 'p95 ms')
    note = 'The last column counts the latents of the replayed bag that are equal to the recorded.'
    tables = [Table('Cameras', (*columns, 'identical in replay'), tuple(rows), note)]
    if 'moving' in summary:
        tables.append(_scenes(summary))
    for title, key in (('Composition', 'composition'), ('Processes', 'processes')):
        found = summary.get(key) or {}
        names = list(dict.fromkeys(name for each in found.values() for name in each))
        body = tuple((each, *(row.get(name) for name in names)) for each, row in found.items())
        if body:
            tables.append(Table(title, ('', *(n.replace('_', ' ') for n in names)), body))
    return tables


def _scenes(summary: Mapping[str, Any]) -> Table:
    """Return the table that compares the standing and the moving camera."""
    columns = (
        'cam1',
        'published',
        'attended',
        'p50 ms',
        'p95 ms',
        'objects',
        'found',
        'unmatched',
    )
    rows = []
    for name, scene in (('standing', summary), ('moving', summary['moving'])):
        camera, both = scene['cameras']['cam1'], scene['seen_by_both']
        frames = camera['frames_published'], camera['frames_attended']
        latency = camera['latency_ms']['p50'], camera['latency_ms']['p95']
        rows.append((name, *frames, *latency, *both.values()))
    note = (
        f'The moving cam1 shows {summary["moving"]["cam1"]}. Objects are the moving regions of '
        'cam0 that cam1 shows, found is the share that is in a moving region of cam1 too, and '
        'unmatched are moving regions of cam1 per frame that cam0 does not have.'
    )
    return Table('A standing and a moving camera', columns, tuple(rows), note)
