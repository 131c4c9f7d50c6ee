# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of expectations of a timeline, as settings; `judge` evaluates them.

All times are seconds since the first header stamp of the recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from sage_perception.core.settings import (
    Interval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    check,
)
from sage_perception.vision.camera_health import Fault

FAULTS = tuple(fault.name.lower() for fault in Fault if fault > Fault.NONE)
Share = Annotated[float, Interval(0, 1)]
UNLIMITED_LOW, UNLIMITED_HIGH = -1.0, 1e6
"""Limits that no value reaches."""
CAMERA_STREAMS, GRAPH_STREAMS = ('crops', 'lcts'), ('agreement', 'fused')
"""Streams of a camera, such as `cam0/crops`, and of the whole graph."""


@dataclass(frozen=True, kw_only=True)
class _Window:
    """An expectation for the time from `start` to `end`. Raises `ValueError` for a bad value."""

    start: NonNegativeFloat = 0.0
    end: NonNegativeFloat

    def __post_init__(self) -> None:
        check(self)
        if self.end <= self.start:
            raise ValueError(f'end is {self.end}; it must be later than start, {self.start}')

    def __contains__(self, time_s: float) -> bool:
        return self.start <= time_s < self.end

    @property
    def when(self) -> str:
        """Return the window in words."""
        return f'from {self.start:g} to {self.end:g} s'


@dataclass(frozen=True, kw_only=True)
class Attended(_Window):
    """A region `[x, y, width, height]`, pixels, has the center of an attended region.

    It is expected in at least `share` of the frames of the window.
    """

    camera: str
    region: tuple[int, ...]
    share: Share = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.region) != 4 or min(self.region[2:]) < 1:
            raise ValueError(
                f'region is {list(self.region)}; it must be [x, y, width, height] in pixels'
            )

    def __str__(self) -> str:
        x, y, width, height = self.region
        region = f'{width}x{height}+{x}+{y}'
        return f'{self.camera} attends within {region} {self.when}'


@dataclass(frozen=True, kw_only=True)
class FaultRaised:
    """A fault of a camera is raised at `at` seconds, at most `within` seconds earlier or later."""

    camera: str
    kind: str
    at: NonNegativeFloat
    within: NonNegativeFloat = 0.5

    def __post_init__(self) -> None:
        check(self)
        if self.kind not in FAULTS:
            raise ValueError(f'kind is {self.kind!r}; it must be one of {", ".join(FAULTS)}')

    @property
    def end(self) -> float:
        """Return the latest time of the fault, seconds."""
        return self.at + self.within

    def __str__(self) -> str:
        return f'{self.camera} raises {self.kind} at {self.at:g} s ± {self.within:g} s'


@dataclass(frozen=True, kw_only=True)
class Trust(_Window):
    """The reputation of a camera stays above, or below, a value in all reports of the window."""

    camera: str
    above: Annotated[float, Interval(UNLIMITED_LOW, 1)] = UNLIMITED_LOW
    below: Annotated[float, Interval(0, UNLIMITED_HIGH)] = UNLIMITED_HIGH

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.above, self.below) == (UNLIMITED_LOW, UNLIMITED_HIGH):
            raise ValueError('above or below is missing')
        if self.above >= self.below:
            raise ValueError(f'above is {self.above}; it must be less than below, {self.below}')

    def __str__(self) -> str:
        limits = [f'above {self.above:g}'] if self.above > UNLIMITED_LOW else []
        limits += [f'below {self.below:g}'] if self.below < UNLIMITED_HIGH else []
        return f'the reputation of {self.camera} is {" and ".join(limits)} {self.when}'


@dataclass(frozen=True, kw_only=True)
class Agreement(_Window):
    """Crops of two cameras agree at least `at_least` times; with `tracks`, of these tracks."""

    cameras: tuple[str, ...]
    tracks: tuple[int, ...] = ()
    at_least: PositiveInt = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.cameras) != 2:
            raise ValueError(f'cameras is {list(self.cameras)}; it must be two cameras')
        if self.tracks and len(self.tracks) != 2:
            raise ValueError(f'tracks is {list(self.tracks)}; it must be one track of each camera')

    def __str__(self) -> str:
        tracks = f' on tracks {self.tracks[0]} and {self.tracks[1]}' if self.tracks else ''
        cameras = ' and '.join(self.cameras)
        times = 'once' if self.at_least == 1 else f'{self.at_least} times'
        return f'{cameras} agree{tracks} at least {times} {self.when}'


@dataclass(frozen=True, kw_only=True)
class NotRejected(_Window):
    """The arbiter judges LCTs of a camera, and rejects at most `at_most` of them."""

    camera: str
    at_most: NonNegativeInt = 0

    def __str__(self) -> str:
        most = f'more than {self.at_most} LCTs' if self.at_most else 'no LCT'
        verb = 'are not' if self.at_most else 'is'
        return f'{most} of {self.camera} {verb} rejected {self.when}'


@dataclass(frozen=True, kw_only=True)
class Rate(_Window):
    """A stream, such as `cam0/crops`, has a mean rate in Hz of at least, or at most, a value."""

    stream: str
    at_least: NonNegativeFloat = 0.0
    at_most: NonNegativeFloat = UNLIMITED_HIGH

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_stream(self.stream)
        if (self.at_least, self.at_most) == (0.0, UNLIMITED_HIGH):
            raise ValueError('at_least or at_most is missing')
        if self.at_least > self.at_most:
            raise ValueError(
                f'at_least is {self.at_least}; it must not exceed at_most, {self.at_most}'
            )

    def __str__(self) -> str:
        limits = [f'at least {self.at_least:g}'] if self.at_least else []
        limits += [f'at most {self.at_most:g}'] if self.at_most < UNLIMITED_HIGH else []
        return f'the rate of {self.stream} is {" and ".join(limits)} Hz {self.when}'


@dataclass(frozen=True, kw_only=True)
class Latency(_Window):
    """All messages of a stream arrive less than `below` seconds after their header stamp.

    It can be judged in a running graph only.
    """

    stream: str
    below: Annotated[float, Interval(0, open_low=True)]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_stream(self.stream)

    def __str__(self) -> str:
        return f'the latency of {self.stream} is below {self.below:g} s {self.when}'


def _check_stream(stream: str) -> None:
    camera, _, kind = stream.rpartition('/')
    if kind not in (CAMERA_STREAMS if camera else GRAPH_STREAMS):
        raise ValueError(
            f'stream is {stream!r}; it must be CAMERA/crops, CAMERA/lcts, agreement or fused'
        )


Expectation: TypeAlias = Attended | FaultRaised | Trust | Agreement | NotRejected | Rate | Latency
KINDS: dict[str, type[Expectation]] = {
    'attended': Attended,
    'fault': FaultRaised,
    'trust': Trust,
    'agreement': Agreement,
    'not_rejected': NotRejected,
    'rate': Rate,
    'latency': Latency,
}
