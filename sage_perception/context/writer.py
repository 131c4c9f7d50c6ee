# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Writing of items, cameras, and the scene into the blocks of a context."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from sage_perception.context.layout import BLOCKS, DIM, MAX_CAMERAS, MAX_ITEMS, MAX_RECALLS
from sage_perception.context.tracks import CameraView, RankedTrack

PAST_S = (0.25, 0.5, 1.0)
"""Times of the past places of an item before its newest observation, seconds."""

_COLUMNS = {
    name: {field: column for column, field in enumerate(block.fields)}
    for name, block in BLOCKS.items()
}


class ContextWriter:
    """Values and mask of a context under construction.

    `now_s` is the time of the context, `window_s` its length, and `agreement` the similarity by
    LCT id.
    """

    def __init__(self, now_s: float, window_s: float, agreement: Mapping[bytes, float]):
        self.values = np.zeros(DIM, np.float32)
        self.mask = np.zeros(DIM, bool)
        self._now_s, self._window_s, self._agreement = now_s, window_s, agreement

    def write_latent(self, block: str, row: int, latent: np.ndarray) -> None:
        """Write a latent `[64]`, in the unit of the context."""
        BLOCKS[block].rows(self.values)[row] = latent
        BLOCKS[block].rows(self.mask)[row] = True

    def write(self, block: str, row: int, **fields: float | None) -> None:
        """Write fields of a row; None and values that are not finite stay masked."""
        found = BLOCKS[block]
        values, mask = found.rows(self.values)[row], found.rows(self.mask)[row]
        for name, value in fields.items():
            if value is not None and math.isfinite(value):
                column = _COLUMNS[block][name]
                values[column], mask[column] = value, True

    def write_item(self, row: int, item: RankedTrack) -> None:
        """Write the physical and logical fields of an item."""
        track, lct, now_s = item.track, item.track.newest, self._now_s
        telemetry = lct.latent.telemetry
        x, y, width, height = track.place
        self.write(
            'physical.items',
            row,
            x=x,
            y=y,
            width=width,
            height=height,
            age=now_s - track.stamps[-1],
            known_for=math.log1p(track.stamps[-1] - track.first_s),
            visible=min(len(track.stamps) / len(item.view.frames), 1.0),
            **track.slopes(),
            **track.displacements(PAST_S),
            **{f'camera_{slot}': float(slot == item.slot) for slot in range(MAX_CAMERAS)},
        )
        snarc = track.snarc
        if snarc is not None and now_s - track.scored_s > self._window_s:
            snarc = None
        self.write(
            'logical.items',
            row,
            salience=item.salience,
            trust=lct.trust,
            telemetry_trust=telemetry.trust,
            error=_error(telemetry.reconstruction_error),
            kl=telemetry.kl_per_dim / 10,
            norm=telemetry.latent_norm / 10,
            hops=len(lct.provenance) / 16,
            agreement=self._agreement.get(lct.id),
            **({} if snarc is None else asdict(snarc)),
            iterations=math.log1p(max(telemetry.iterations - 1, 0)),
            budget_spent=math.log1p(max(telemetry.budget_spent, 0.0)) / 10,
        )

    def write_camera(self, slot: int, view: CameraView, items: Sequence[RankedTrack]) -> None:
        """Write the fields of a camera; `items` are its own."""
        width, height = view.size
        frames = view.frames
        span = frames[-1] - frames[0]
        physical: dict[str, float | None] = {
            'aspect': width / height,
            'megapixels': width * height / 1e6,
            'rate': min((len(frames) - 1) / span / 30, 10.0) if span > 0 else None,
            'age': self._now_s - frames[-1],
            'known_for': math.log1p(self._now_s - view.first_s),
            'items': len(items) / MAX_ITEMS,
        }
        logical: dict[str, float | None] = {'primary': float(slot == 0)}
        if items:
            tracks = [item.track for item in items]
            places = np.array([track.place for track in tracks])
            moves = [track.slopes() for track in tracks]
            flows = np.array([(m['velocity_x'], m['velocity_y']) for m in moves if m])
            physical |= {
                'area': min(float((places[:, 2] * places[:, 3]).sum()), 1.0),
                'center_x': float(places[:, 0].mean()),
                'center_y': float(places[:, 1].mean()),
                'spread_x': float(places[:, 0].std()),
                'spread_y': float(places[:, 1].std()),
            }
            if len(flows):
                physical |= {
                    'flow_x': float(flows[:, 0].mean()),
                    'flow_y': float(flows[:, 1].mean()),
                    'speed': float(np.hypot(*flows.T).mean()),
                }
            telemetries = [track.newest.latent.telemetry for track in tracks]
            trusts = [track.newest.trust for track in tracks]
            agreed = self._agreements(items)
            logical |= {
                'trust': float(np.mean(trusts)),
                'trust_min': min(trusts),
                'error': float(np.mean([_error(t.reconstruction_error) for t in telemetries])),
                'kl': float(np.mean([t.kl_per_dim / 10 for t in telemetries])),
                'agreement': _mean(agreed),
                'matched': len(agreed) / len(tracks),
            }
        self.write('physical.cameras', slot, **physical)
        self.write('logical.cameras', slot, **logical)

    def write_time(self, first_s: float | None) -> None:
        """Write the time of day and the time since the first frame, at `first_s`."""
        now_s = self._now_s
        day, hour = (2 * math.pi * (now_s % period) / period for period in (86_400, 3_600))
        self.write(
            'physical.time',
            0,
            day_sin=math.sin(day),
            day_cos=math.cos(day),
            hour_sin=math.sin(hour),
            hour_cos=math.cos(hour),
            running_for=math.log1p(now_s - first_s) if first_s is not None else None,
        )

    def write_scene(
        self, items: Sequence[RankedTrack], cameras: int, recalls: int, budget: float | None
    ) -> None:
        """Write the summary of all items in the context."""
        self.write(
            'logical.scene',
            0,
            cameras=cameras / MAX_CAMERAS,
            items=len(items) / MAX_ITEMS,
            recalls=recalls / MAX_RECALLS,
            salience=_mean([item.salience for item in items]),
            trust=_mean([item.track.newest.trust for item in items]),
            agreement=_mean(self._agreements(items)),
            budget=budget,
        )

    def _agreements(self, items: Sequence[RankedTrack]) -> list[float]:
        """Return the agreements of the items that were matched."""
        found = (self._agreement.get(item.track.newest.id) for item in items)
        return [agreement for agreement in found if agreement is not None]


def _error(mean_squared_error: float) -> float:
    """Return 10 times the root of a reconstruction error."""
    return 10 * math.sqrt(max(mean_squared_error, 0.0))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
