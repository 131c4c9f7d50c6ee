# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The arrangement of the views in Rerun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sage_perception.viewing.items import Path

PROJECTION_S = 10.0
"""Time before the cursor whose latents are shown in the projection, seconds."""

try:
    import rerun.blueprint as rrb
except ModuleNotFoundError:  # `RerunSink` reports it
    rrb = None


def blueprint(cameras: Sequence[Path]) -> Any:
    """Return the blueprint of a graph with these cameras.

    Left: frames with regions, and crops above their reconstructions, per camera. Middle: latents
    as heat maps and their projection, matches, recalls and fused LCTs. Right: the curves.
    """
    frames, crops, heat_maps = [], [], []
    for camera in cameras:
        origin, name = '/' + '/'.join(camera), '/'.join(camera)
        contents = ['$origin/image', '$origin/regions']
        frames.append(rrb.Spatial2DView(origin=origin, contents=contents, name=name))
        crops.append(
            rrb.Spatial2DView(origin=f'{origin}/crops', name=f'{name}: crops, reconstructions')
        )
        heat_maps.append(rrb.TensorView(origin=f'{origin}/latents', name=f'{name}: latents'))
    middle = [
        rrb.Spatial2DView(
            origin='/projection',
            name='Projection of the latents',
            time_ranges=rrb.VisibleTimeRange(
                'stamp',
                start=rrb.TimeRangeBoundary.cursor_relative(seconds=-PROJECTION_S),
                end=rrb.TimeRangeBoundary.cursor_relative(),
            ),
        ),
        rrb.Tabs(*heat_maps, name='Latents') if heat_maps else None,
        rrb.Tabs(
            rrb.Spatial2DView(origin='/matches/crops', name='Matches'),
            rrb.GraphView(origin='/matches/graph', name='Matched tracks'),
            rrb.Spatial2DView(origin='/fused', name='Fused'),
            rrb.Spatial2DView(origin='/memory/recall', name='Recalled'),
            rrb.Spatial2DView(origin='/images', name='Mosaic'),
        ),
    ]
    curves = rrb.Vertical(
        rrb.TimeSeriesView(origin='/trust', name='Trust of the LCTs'),
        rrb.TimeSeriesView(origin='/reports', name='Reputation and compression trust'),
        rrb.TimeSeriesView(origin='/latency', name='Latency to the LCTs, ms'),
        rrb.Tabs(
            rrb.TimeSeriesView(origin='/similarity', name='Similarity of matches'),
            rrb.TimeSeriesView(origin='/agreement', name='Agreements'),
            rrb.TimeSeriesView(origin='/health', name='Camera health'),
            rrb.TimeSeriesView(origin='/salience', name='Salience'),
            rrb.TimeSeriesView(origin='/bytes', name='Bytes of latents per frame'),
            rrb.TimeSeriesView(origin='/rejected', name='Rejected LCTs'),
        ),
        rrb.TextLogView(origin='/log', name='Log'),
    )
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(*frames, *crops),
            rrb.Vertical(*(each for each in middle if each is not None)),
            curves,
            column_shares=[3, 2, 2],
        ),
        rrb.TimePanel(state='collapsed', timeline='stamp'),
        rrb.SelectionPanel(state='collapsed'),
        rrb.BlueprintPanel(state='collapsed'),
    )
