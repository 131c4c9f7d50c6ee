# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The H context: 4096 numbers that say what a robot's cameras have seen in the last seconds.

>>> builder = ContextBuilder(LatentSpace.of(model.id, model.latent_mean, model.latent_std))
>>> builder.see('cam0', stamp_s, (640, 480), lcts)  # for each frame of each camera
>>> context = builder.build()
>>> context.segment('sensory'), context.mask  # float32 [1536], bool [4096]

`BLOCKS` is the layout, `docs/context.md` explains it field by field. What is not known is 0 and
masked; a reserved part is always masked.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field

import numpy as np

from sage_perception.core.latent import Latent, ModelId, Roi
from sage_perception.core.lct import LCT
from sage_perception.memory.snarc import Snarc

LAYOUT = 1
"""Version of the layout; it changes whenever a number changes its place, unit or meaning."""
DIM = 4096
ITEMS, RECALLS, SLOTS, CAMERAS = 24, 8, 8, 8
LATENT = 64
"""Numbers of one latent; contexts are of models with this many."""

SLOPE_S = 0.5
"""Time over which velocities are fitted, seconds."""
PAST_S = (0.25, 0.5, 1.0)
"""How long before its newest look a thing's former places are told, seconds."""

ITEM_PHYSICAL = (
    *('x', 'y', 'width', 'height', 'velocity_x', 'velocity_y', 'growth', 'age', 'known_for'),
    *('visible', 'past_x_0', 'past_y_0', 'past_x_1', 'past_y_1', 'past_x_2', 'past_y_2'),
    *(f'camera_{slot}' for slot in range(CAMERAS)),
)
CAMERA_PHYSICAL = (
    *('aspect', 'megapixels', 'rate', 'age', 'known_for', 'things', 'area', 'center_x'),
    *('center_y', 'spread_x', 'spread_y', 'flow_x', 'flow_y', 'speed'),
)
TIME = ('day_sin', 'day_cos', 'hour_sin', 'hour_cos', 'running_for')
ITEM_LOGICAL = (
    *('salience', 'trust', 'telemetry_trust', 'error', 'kl', 'norm', 'hops', 'agreement'),
    *('surprise', 'novelty', 'arousal', 'reward', 'conflict', 'iterations', 'budget_spent'),
)
CAMERA_LOGICAL = ('primary', 'trust', 'trust_least', 'error', 'kl', 'agreement', 'matched')
SCENE = ('cameras', 'items', 'recalls', 'salience', 'trust', 'agreement', 'budget')


@dataclass(frozen=True)
class Block:
    """`count` rows of the same `fields`, beginning at `start`; a reserved one has no rows."""

    segment: str
    name: str
    count: int
    fields: tuple[str, ...]
    start: int

    @property
    def size(self) -> int:
        """Return how many numbers it has."""
        return self.count * len(self.fields)

    @property
    def where(self) -> slice:
        """Return its place in a context."""
        return slice(self.start, self.start + self.size)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return its part of `numbers` `[..., 4096]` as `[..., count, fields]`, a view."""
        part = numbers[..., self.where]
        return part.reshape(*numbers.shape[:-1], self.count, len(self.fields))


_LATENT = tuple(f'z{i}' for i in range(LATENT))
_PARTS: Mapping[str, tuple[int, tuple[tuple[str, int, tuple[str, ...]], ...]]] = {
    'sensory': (1536, (('latents', ITEMS, _LATENT),)),
    'semantic': (1024, (('recall', RECALLS, _LATENT), ('slots', SLOTS, _LATENT))),
    'physical': (
        768,
        (
            ('items', ITEMS, ITEM_PHYSICAL),
            ('cameras', CAMERAS, CAMERA_PHYSICAL),
            ('time', 1, TIME),
        ),
    ),
    'logical': (
        768,
        (
            ('items', ITEMS, ITEM_LOGICAL),
            ('cameras', CAMERAS, CAMERA_LOGICAL),
            ('scene', 1, SCENE),
        ),
    ),
}


def _layout() -> tuple[dict[str, slice], dict[str, Block]]:
    segments, blocks, start = {}, {}, 0
    for segment, (size, parts) in _PARTS.items():
        segments[segment] = slice(start, start + size)
        at = start
        for name, count, fields in parts:
            blocks[f'{segment}.{name}'] = block = Block(segment, name, count, fields, at)
            at += block.size
        start += size
    return segments, blocks


SEGMENTS, BLOCKS = _layout()
"""Segment → its place; 'segment.block' → the block."""


class ContextError(ValueError):
    """What cannot be put into a context or read from one."""


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """The space that the latents of a context live in, and their common unit.

    In a context latents are centered and divided by one number, the root mean square of their
    deviations: distances keep their proportions, and a latent varies by 1 on average.
    """

    model: ModelId
    mean: np.ndarray
    scale: float

    @classmethod
    def of(cls, model: ModelId, mean: np.ndarray, std: np.ndarray) -> LatentSpace:
        """Return the space of a model by its latents' statistics, each `[64]`."""
        mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
        if mean.shape != (LATENT,) or std.shape != (LATENT,):
            raise ContextError(
                f'contexts hold latents of {LATENT} numbers, those of {model} have {mean.size}'
            )
        scale = float(np.sqrt(np.square(std, dtype=np.float64).mean()))
        if not (math.isfinite(scale) and scale > 0 and np.isfinite(mean).all()):
            raise ContextError(f'the latent statistics of {model} are not finite and positive')
        return cls(model, mean, scale)

    def put(self, z: np.ndarray) -> np.ndarray:
        """Return latents `[..., 64]` in the unit of a context."""
        return (z - self.mean) / np.float32(self.scale)

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Return numbers of a context `[..., 64]` as latents of the model."""
        return numbers * np.float32(self.scale) + self.mean


@dataclass(frozen=True, eq=False)
class Item:
    """One thing in view, as read back from a context; None is what the context does not know.

    Places are in half frames from the middle of the frame, x to the right, y down, so that they
    are in [−1, 1]; sizes are shares of the frame's width and height; `velocity` is in half frames
    a second. `camera` is the camera's slot, `latent` is in the unit of the context `[64]`.
    """

    camera: int
    latent: np.ndarray
    center: tuple[float, float]
    size: tuple[float, float]
    velocity: tuple[float, float] | None
    age_s: float
    salience: float
    trust: float
    agreement: float | None


@dataclass(frozen=True, eq=False)
class HContext:
    """A context: `values` float32 `[4096]`, 0 where `mask`, bool `[4096]`, is False.

    `stamp_s` is the moment that it describes, seconds on the clock of the frames; `cameras` are
    the names of the camera slots in use; `keys` say of each item which (camera, track) it is and
    `looks` the ids of the LCTs they come from.
    """

    values: np.ndarray
    mask: np.ndarray
    stamp_s: float
    cameras: tuple[str, ...] = ()
    keys: tuple[tuple[str, int], ...] = ()
    looks: tuple[bytes, ...] = ()
    layout: int = LAYOUT

    def __post_init__(self):
        if self.layout != LAYOUT:
            raise ContextError(f'the context has layout {self.layout}, this is layout {LAYOUT}')
        if self.values.shape != (DIM,) or self.mask.shape != (DIM,):
            raise ContextError(
                f'a context has {DIM} numbers and as many in its mask, not '
                f'{list(self.values.shape)} and {list(self.mask.shape)}'
            )

    def segment(self, name: str) -> np.ndarray:
        """Return the numbers of 'sensory', 'semantic', 'physical' or 'logical', a view."""
        return self.values[_find(SEGMENTS, name)]

    def segment_mask(self, name: str) -> np.ndarray:
        """Return which numbers of a segment are known, a view."""
        return self.mask[_find(SEGMENTS, name)]

    def rows(self, block: str) -> tuple[np.ndarray, np.ndarray]:
        """Return values and mask `[count, fields]` of a block such as 'physical.items', views."""
        found = _find(BLOCKS, block)
        return found.rows(self.values), found.rows(self.mask)

    @property
    def items(self) -> list[Item]:
        """Return the things in view, most salient first."""
        return read_items(self.values, self.mask)


def _find(table: Mapping, name: str):
    try:
        return table[name]
    except KeyError:
        raise ContextError(f'a context has no {name!r}, but {", ".join(table)}') from None


def read_items(values: np.ndarray, mask: np.ndarray) -> list[Item]:
    """Return the things that a context `[4096]`, or a reconstruction of one, tells of."""
    latents = BLOCKS['sensory.latents'].rows(values)
    physical, known = BLOCKS['physical.items'].rows(values), BLOCKS['physical.items'].rows(mask)
    logical, judged = BLOCKS['logical.items'].rows(values), BLOCKS['logical.items'].rows(mask)
    at = {name: i for i, name in enumerate(ITEM_PHYSICAL)}
    of = {name: i for i, name in enumerate(ITEM_LOGICAL)}
    items = []
    for row in range(ITEMS):
        if not known[row, at['x']]:
            continue
        place, says = physical[row], logical[row]
        moves = known[row, at['velocity_x']]
        items.append(
            Item(
                camera=int(np.argmax(place[at['camera_0'] :])),
                latent=latents[row],
                center=(float(place[at['x']]), float(place[at['y']])),
                size=(float(place[at['width']]), float(place[at['height']])),
                velocity=(float(place[at['velocity_x']]), float(place[at['velocity_y']]))
                if moves
                else None,
                age_s=float(place[at['age']]),
                salience=float(says[of['salience']]),
                trust=float(says[of['trust']]),
                agreement=float(says[of['agreement']]) if judged[row, of['agreement']] else None,
            )
        )
    return items


@dataclass(frozen=True)
class Match:
    """What an arbiter says of two LCTs of two cameras: their ids and their similarity [−1, 1]."""

    a: bytes
    b: bytes
    similarity: float


@dataclass(eq=False)
class _Track:
    """The looks at one thing in the last seconds, oldest first."""

    stamps: list[float] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)  # x, y, width, height
    ranks: list[int] = field(default_factory=list)
    newest: LCT | None = None
    first_s: float = 0.0
    snarc: Snarc | None = None
    scored_s: float = 0.0

    def add(self, stamp_s: float, place: np.ndarray, rank: int, lct: LCT) -> None:
        if not self.stamps:
            self.first_s = stamp_s
        self.stamps.append(stamp_s)
        self.places.append(place)
        self.ranks.append(rank)
        self.newest = lct

    def forget(self, before_s: float) -> None:
        count = bisect_left(self.stamps, before_s)
        del self.stamps[:count], self.places[:count], self.ranks[:count]


@dataclass(eq=False)
class _View:
    """What one camera has shown in the last seconds."""

    frames: deque = field(default_factory=deque)  # stamps, seconds
    size: tuple[int, int] = (1, 1)
    first_s: float = 0.0
    tracks: dict[int, _Track] = field(default_factory=dict)

    def forget(self, before_s: float) -> None:
        while self.frames and self.frames[0] < before_s:
            self.frames.popleft()
        for track in self.tracks.values():
            track.forget(before_s)
        self.tracks = {key: track for key, track in self.tracks.items() if track.stamps}


class ContextBuilder:
    """Keeps what cameras have shown in the last `window_s` seconds and makes contexts of it.

    Any number of cameras up to 8, given beforehand or met as they come, the first is the primary
    one; each keeps its slot for good, and is masked while it shows nothing. A camera whose stamps
    go back begins anew. All times are those of the stamps.
    """

    def __init__(self, space: LatentSpace, cameras: Sequence[str] = (), window_s: float = 2.0):
        if not (math.isfinite(window_s) and window_s > 0):
            raise ContextError(f'window_s is {window_s}, it is a positive number of seconds')
        self.space, self.window_s = space, window_s
        self._slots: dict[str, int] = {}
        self._views: dict[str, _View] = {}
        self._agreement: dict[bytes, float] = {}
        self._matches: deque[tuple[float, bytes, bytes]] = deque()
        self._recall: np.ndarray = np.empty((0, LATENT), np.float32)
        self._slot_latents: np.ndarray = np.empty((0, LATENT), np.float32)
        self._budget: float | None = None
        self._first_s: float | None = None
        for camera in cameras:
            self._join(camera)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Return the names of the cameras in the order of their slots."""
        return tuple(self._slots)

    def see(self, camera: str, stamp_s: float, size: tuple[int, int], lcts: Sequence[LCT]) -> None:
        """Take a frame of a camera: when, its width and height, its LCTs, best first.

        Raises `ContextError` for latents of another space and for what is not finite; nothing of
        the frame is taken then.
        """
        if not math.isfinite(stamp_s):
            raise ContextError(f'the stamp of a frame of {camera} is {stamp_s}')
        if min(size) < 1:
            if lcts:
                raise ContextError(f'a frame of {camera} is {size[0]}x{size[1]} pixels')
            return
        for lct in lcts:
            self._require(lct.latent)
        view = self._join(camera)
        if view.frames and stamp_s < view.frames[-1]:
            view = self._views[camera] = _View()
        if self._first_s is None or stamp_s < self._first_s:
            self._first_s = stamp_s
        if not view.frames:
            view.first_s = stamp_s
        view.frames.append(stamp_s)
        view.size = size
        for rank, lct in enumerate(lcts):
            # What nobody tracks is a thing of its own for as long as it is remembered.
            key = lct.latent.track_id or -int.from_bytes(lct.id[:6], 'little') - 1
            track = view.tracks.setdefault(key, _Track())
            if track.stamps and track.stamps[-1] == stamp_s:
                continue
            track.add(stamp_s, _place(lct.latent.roi, size), rank, lct)
        view.forget(stamp_s - self.window_s)

    def agree(self, stamp_s: float, matches: Sequence[Match]) -> None:
        """Take what an arbiter says of the LCTs of two cameras at one moment."""
        for match in matches:
            if math.isfinite(match.similarity):
                self._matches.append((stamp_s, match.a, match.b))
                self._agreement[match.a] = self._agreement[match.b] = match.similarity
        while self._matches and self._matches[0][0] < stamp_s - self.window_s:
            _, *ids = self._matches.popleft()
            for lct_id in ids:
                self._agreement.pop(lct_id, None)

    def score(self, camera: str, stamp_s: float, scores: Mapping[int, Snarc]) -> None:
        """Take how salient memory finds what it looked at in a frame of a camera, by track.

        A score stands until the next one of its track, for the window at most; one of a track
        that is not in view is passed over. Raises `ContextError` for one that is not in [0, 1].
        """
        for snarc in scores.values():
            if not all(0 <= part <= 1 for part in astuple(snarc)):
                raise ContextError(f'{snarc} of a thing of {camera} is not in [0, 1]')
        tracks = self._views[camera].tracks if camera in self._views else {}
        for key in tracks.keys() & scores.keys():
            tracks[key].snarc, tracks[key].scored_s = scores[key], stamp_s

    def recall(self, latents: Sequence[Latent]) -> None:
        """Take what memory recalls for now, best first, in place of what it recalled before."""
        self._recall = self._stack(latents, RECALLS)

    def slots(self, latents: Sequence[Latent]) -> None:
        """Take the object slots of now in place of those of before."""
        self._slot_latents = self._stack(latents, SLOTS)

    def budget(self, share: float | None) -> None:
        """Take which share of the attention budget (ATP) is left, in [0, 1]; None: unknown."""
        if share is not None and not 0 <= share <= 1:
            raise ContextError(f'the budget left is {share}, it is a share in [0, 1]')
        self._budget = share

    def build(self, now_s: float | None = None) -> HContext:
        """Return the context of the moment `now_s`, or of the newest frame where that is later.

        What is older than the window is left out.
        """
        newest = max(
            (view.frames[-1] for view in self._views.values() if view.frames), default=0.0
        )
        now_s = newest if now_s is None else max(now_s, newest)
        page = _Page()
        online = {
            camera: view
            for camera, view in self._views.items()
            if view.frames and now_s - view.frames[-1] <= self.window_s
        }
        items = self._items(online, now_s)
        for row, item in enumerate(items[:ITEMS]):
            self._write_item(page, row, item, now_s)
        for camera, view in online.items():
            own = [item for item in items if item[1] == camera]
            self._write_camera(page, self._slots[camera], view, own, now_s)
        for block, latents in (('recall', self._recall), ('slots', self._slot_latents)):
            for row, latent in enumerate(latents):
                page.latent(f'semantic.{block}', row, latent)
        self._write_scene(page, items[:ITEMS], online, now_s)
        return HContext(
            page.values,
            page.mask,
            now_s,
            self.cameras,
            tuple((camera, key) for _, camera, key, _ in items[:ITEMS]),
            tuple(track.newest.id for *_, track in items[:ITEMS]),
        )

    def newest(self, key: tuple[str, int]) -> LCT:
        """Return the newest LCT of an item by its key in the last context; KeyError if gone."""
        camera, track = key
        return self._views[camera].tracks[track].newest

    def _join(self, camera: str) -> _View:
        if camera not in self._slots:
            if len(self._slots) == CAMERAS:
                raise ContextError(
                    f'{camera} is one camera too many: a context has room for {CAMERAS}, '
                    f'which are {", ".join(self._slots)}'
                )
            self._slots[camera] = len(self._slots)
            self._views[camera] = _View()
        return self._views[camera]

    def _require(self, latent: Latent) -> None:
        own = self.space.model
        if latent.model.fingerprint != own.fingerprint or latent.dim != LATENT:
            raise ContextError(
                f'a latent of {latent.model} with {latent.dim} numbers does not belong into a '
                f'context of {own}'
            )
        if not np.isfinite(latent.mean).all():
            raise ContextError('a latent is not finite')

    def _stack(self, latents: Sequence[Latent], most: int) -> np.ndarray:
        for latent in latents:
            self._require(latent)
        if not latents:
            return np.empty((0, LATENT), np.float32)
        return self.space.put(np.stack([latent.mean for latent in latents[:most]]))

    def _items(self, online: Mapping[str, _View], now_s: float) -> list[tuple]:
        """Return (salience, camera, key, track) of all things in view, most salient first.

        Salience is the mean of 1 / (1 + rank) over the camera's frames in the window, 0 for those
        that do not show it: in [0, 1], and steady from frame to frame.
        """
        found = []
        for camera, view in online.items():
            view.forget(now_s - self.window_s)
            for key, track in view.tracks.items():
                salience = sum(1 / (1 + rank) for rank in track.ranks) / len(view.frames)
                found.append((min(salience, 1.0), camera, key, track))
        return sorted(found, key=lambda item: (-item[0], self._slots[item[1]], item[2]))

    def _write_item(self, page: _Page, row: int, item: tuple, now_s: float) -> None:
        salience, camera, _, track = item
        lct, view = track.newest, self._views[camera]
        latent, telemetry = lct.latent, lct.latent.telemetry
        page.latent('sensory.latents', row, self.space.put(latent.mean))
        stamps, places = np.array(track.stamps), np.array(track.places)
        x, y, width, height = places[-1]
        slopes = _slopes(stamps, places)
        past = {}
        for i, ago in enumerate(PAST_S):
            then = stamps[-1] - ago
            if stamps[0] <= then:
                past[f'past_x_{i}'] = np.interp(then, stamps, places[:, 0]) - x
                past[f'past_y_{i}'] = np.interp(then, stamps, places[:, 1]) - y
        scored = track.snarc is not None and now_s - track.scored_s <= self.window_s
        slot = self._slots[camera]
        page.write(
            'physical.items',
            row,
            x=x,
            y=y,
            width=width,
            height=height,
            age=now_s - stamps[-1],
            known_for=math.log1p(stamps[-1] - track.first_s),
            visible=min(len(stamps) / len(view.frames), 1.0),
            **slopes,
            **past,
            **{f'camera_{other}': float(other == slot) for other in range(CAMERAS)},
        )
        page.write(
            'logical.items',
            row,
            salience=salience,
            trust=lct.trust,
            telemetry_trust=telemetry.trust,
            error=10 * math.sqrt(max(telemetry.reconstruction_error, 0.0)),
            kl=telemetry.kl_per_dim / 10,
            norm=telemetry.latent_norm / 10,
            hops=len(lct.provenance) / 16,
            agreement=self._agreement.get(lct.id),
            **(asdict(track.snarc) if scored else {}),
            iterations=math.log1p(max(telemetry.iterations - 1, 0)),
            budget_spent=telemetry.budget_spent,
        )

    def _write_camera(
        self, page: _Page, slot: int, view: _View, items: Sequence[tuple], now_s: float
    ) -> None:
        width, height = view.size
        frames = view.frames
        span = frames[-1] - frames[0]
        physical = {
            'aspect': width / height,
            'megapixels': width * height / 1e6,
            'rate': min((len(frames) - 1) / span / 30, 10.0) if span > 0 else None,
            'age': now_s - frames[-1],
            'known_for': math.log1p(now_s - view.first_s),
            'things': len(items) / ITEMS,
        }
        logical = {'primary': float(slot == 0)}
        if items:
            tracks = [track for *_, track in items]
            places = np.array([track.places[-1] for track in tracks])
            moves = [_slopes(np.array(t.stamps), np.array(t.places)) for t in tracks]
            flows = np.array([(m['velocity_x'], m['velocity_y']) for m in moves if m])
            physical |= {
                'area': min(float((places[:, 2] * places[:, 3]).sum()), 1.0),
                'center_x': places[:, 0].mean(),
                'center_y': places[:, 1].mean(),
                'spread_x': places[:, 0].std(),
                'spread_y': places[:, 1].std(),
            }
            if len(flows):
                physical |= {
                    'flow_x': flows[:, 0].mean(),
                    'flow_y': flows[:, 1].mean(),
                    'speed': np.hypot(*flows.T).mean(),
                }
            telemetries = [track.newest.latent.telemetry for track in tracks]
            trusts = [track.newest.trust for track in tracks]
            agreed = [
                self._agreement[track.newest.id]
                for track in tracks
                if track.newest.id in self._agreement
            ]
            logical |= {
                'trust': np.mean(trusts),
                'trust_least': min(trusts),
                'error': np.mean(
                    [10 * math.sqrt(max(t.reconstruction_error, 0)) for t in telemetries]
                ),
                'kl': np.mean([t.kl_per_dim / 10 for t in telemetries]),
                'agreement': np.mean(agreed) if agreed else None,
                'matched': len(agreed) / len(tracks),
            }
        page.write('physical.cameras', slot, **physical)
        page.write('logical.cameras', slot, **logical)

    def _write_scene(
        self, page: _Page, items: Sequence[tuple], online: Mapping, now_s: float
    ) -> None:
        day, hour = (2 * math.pi * (now_s % period) / period for period in (86_400, 3_600))
        page.write(
            'physical.time',
            0,
            day_sin=math.sin(day),
            day_cos=math.cos(day),
            hour_sin=math.sin(hour),
            hour_cos=math.cos(hour),
            running_for=math.log1p(now_s - self._first_s) if self._first_s is not None else None,
        )
        agreed = [
            self._agreement[track.newest.id]
            for *_, track in items
            if track.newest.id in self._agreement
        ]
        page.write(
            'logical.scene',
            0,
            cameras=len(online) / CAMERAS,
            items=len(items) / ITEMS,
            recalls=len(self._recall) / RECALLS,
            salience=np.mean([item[0] for item in items]) if items else None,
            trust=np.mean([track.newest.trust for *_, track in items]) if items else None,
            agreement=np.mean(agreed) if agreed else None,
            budget=self._budget,
        )


class _Page:
    """Values and mask of a context that is being written."""

    def __init__(self):
        self.values = np.zeros(DIM, np.float32)
        self.mask = np.zeros(DIM, bool)

    def latent(self, block: str, row: int, numbers: np.ndarray) -> None:
        BLOCKS[block].rows(self.values)[row] = numbers
        BLOCKS[block].rows(self.mask)[row] = True

    def write(self, block: str, row: int, **fields: float | None) -> None:
        """Write fields of a row; None and what is not finite stays unknown."""
        found = BLOCKS[block]
        values, mask = found.rows(self.values)[row], found.rows(self.mask)[row]
        for name, value in fields.items():
            if value is not None and math.isfinite(value):
                column = _COLUMNS[block][name]
                values[column], mask[column] = value, True


_COLUMNS = {
    name: {field: column for column, field in enumerate(block.fields)}
    for name, block in BLOCKS.items()
}


def _place(roi: Roi | None, size: tuple[int, int]) -> np.ndarray:
    """Return center x, y in half frames from the middle, width, height in frames; float64 [4]."""
    width, height = size
    if roi is None:
        return np.array([0.0, 0.0, 1.0, 1.0])
    x, y = roi.center
    place = [2 * x / width - 1, 2 * y / height - 1, roi.width / width, roi.height / height]
    return np.clip(place, -1.0, 1.0)


def _slopes(stamps: np.ndarray, places: np.ndarray) -> dict[str, float]:
    """Return velocity and growth by least squares over the last `SLOPE_S`; {} if they are unknown.

    Velocities are in half frames a second, `growth` that of the logarithm of the width.
    """
    recent = stamps >= stamps[-1] - SLOPE_S
    t = stamps[recent] - stamps[recent].mean()
    spread = float(t @ t)
    if spread <= 1e-6:
        return {}
    x, y, width, _ = places[recent].T
    slopes = {
        'velocity_x': t @ x / spread,
        'velocity_y': t @ y / spread,
        'growth': t @ np.log(np.maximum(width, 1e-6)) / spread,
    }
    # Faster is a tracker's jump, and one jump would outweigh all else in a context.
    return {name: float(np.clip(slope, -4.0, 4.0)) for name, slope in slopes.items()}
