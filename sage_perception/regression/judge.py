# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Judges the expectations of a timeline from the events of a replay or of a running graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sage_perception.regression.events import (
    AgreementEvent,
    ArrivalEvent,
    Event,
    FrameEvent,
    FusedEvent,
    LctEvent,
    TrustEvent,
)
from sage_perception.regression.expectations import (
    Agreement,
    Attended,
    Expectation,
    FaultRaised,
    Latency,
    NotRejected,
    Rate,
    Trust,
)
from sage_perception.regression.timebase import Timebase
from sage_perception.regression.timeline import Timeline
from sage_perception.vision.camera_health import Fault

MARGIN_S = 0.5
"""Time after the last expectation in which late events are awaited."""


@dataclass(frozen=True)
class Outcome:
    """The verdict on one expectation: `passed` is None if it cannot be judged offline."""

    expectation: Expectation
    passed: bool | None
    detail: str

    def __str__(self) -> str:
        word = {True: 'pass', False: 'FAIL', None: 'skip'}[self.passed]
        return f'{word}: {self.expectation}: {self.detail}'


class Judge:
    """An observer of events that judges a timeline.

    `running` is whether the events are those of a running graph, in which messages have a
    latency.
    """

    def __init__(self, timeline: Timeline, *, running: bool = False) -> None:
        self.timeline = timeline
        self.now_s = 0.0
        self._timebase = Timebase()
        self._started = False
        self._checks = [_CHECKS[type(each)](each, running) for each in timeline.expectations]

    @property
    def started(self) -> bool:
        """Return whether a frame of a camera was observed: its stamp is time 0."""
        return self._started

    @property
    def finished(self) -> bool:
        """Return whether all expectations can be judged."""
        return self.now_s >= self.timeline.end_s + MARGIN_S

    def __call__(self, event: Event) -> None:
        """Observe one event."""
        # The first frame is time 0: reports may be older, and their clock may not run yet.
        if not self._started and not isinstance(event, (FrameEvent, LctEvent)):
            return
        self._started = True
        time_s = self._timebase.elapsed_s(_stream(event), event.stamp_ns)
        self.now_s = max(self.now_s, time_s)
        for check in self._checks:
            check.observe(event, time_s)

    def outcomes(self) -> list[Outcome]:
        """Return the verdicts in the order of the timeline."""
        return [check.outcome() for check in self._checks]


def _stream(event: Event) -> str:
    """Return the stream of an event; each one has its own time after a clock jumped."""
    if isinstance(event, FrameEvent):
        return f'{event.camera}/crops'
    if isinstance(event, LctEvent):
        return f'{event.camera}/lcts'
    if isinstance(event, AgreementEvent):
        return 'agreement'
    if isinstance(event, FusedEvent):
        return 'fused'
    if isinstance(event, ArrivalEvent):
        return event.stream
    return f'{getattr(event, "camera", "")}/{type(event).__name__}'


class _Check:
    """The state of one expectation."""

    def __init__(self, expectation: Any, running: bool) -> None:
        self.expectation, self.running = expectation, running

    def observe(self, event: Event, time_s: float) -> None:
        raise NotImplementedError

    def outcome(self) -> Outcome:
        raise NotImplementedError

    def _is_of_camera(self, event: Any) -> bool:
        return event.camera == self.expectation.camera


class _AttendedCheck(_Check):
    def __init__(self, expectation: Attended, running: bool) -> None:
        super().__init__(expectation, running)
        self._frames = self._hits = 0

    def observe(self, event: Event, time_s: float) -> None:
        if not isinstance(event, FrameEvent) or not self._is_of_camera(event):
            return
        if time_s not in self.expectation or event.rejected:
            return
        x, y, width, height = self.expectation.region
        self._frames += 1
        self._hits += any(
            x <= region.roi.center[0] <= x + width and y <= region.roi.center[1] <= y + height
            for region in event.regions
        )

    def outcome(self) -> Outcome:
        if not self._frames:
            return Outcome(self.expectation, False, 'no frames in that time')
        share = self._hits / self._frames
        detail = f'in {self._hits} of {self._frames} frames ({share:.0%})'
        return Outcome(self.expectation, share >= self.expectation.share, detail)


class _FaultCheck(_Check):
    def __init__(self, expectation: FaultRaised, running: bool) -> None:
        super().__init__(expectation, running)
        self._raised_s: list[float] = []
        self._last = Fault.NONE

    def observe(self, event: Event, time_s: float) -> None:
        if not isinstance(event, FrameEvent) or not self._is_of_camera(event):
            return
        if event.rejected:  # its fault is unknown
            return
        expected = Fault[self.expectation.kind.upper()]
        if event.fault == expected and self._last != expected:
            self._raised_s.append(time_s)
        self._last = event.fault

    def outcome(self) -> Outcome:
        expected = self.expectation
        if not self._raised_s:
            return Outcome(expected, False, 'never raised')
        nearest = min(self._raised_s, key=lambda time_s: abs(time_s - expected.at))
        passed = abs(nearest - expected.at) <= expected.within
        return Outcome(expected, passed, f'raised at {nearest:.2f} s')


class _TrustCheck(_Check):
    def __init__(self, expectation: Trust, running: bool) -> None:
        super().__init__(expectation, running)
        self._values: tuple[float, float] | None = None

    def observe(self, event: Event, time_s: float) -> None:
        if not isinstance(event, TrustEvent) or not self._is_of_camera(event):
            return
        if time_s in self.expectation:
            low, high = self._values or (event.reputation, event.reputation)
            self._values = min(low, event.reputation), max(high, event.reputation)

    def outcome(self) -> Outcome:
        if self._values is None:
            return Outcome(self.expectation, False, 'no report in that time')
        low, high = self._values
        passed = self.expectation.above < low and high < self.expectation.below
        return Outcome(self.expectation, passed, f'it is {low:.2f} to {high:.2f}')


class _AgreementCheck(_Check):
    def __init__(self, expectation: Agreement, running: bool) -> None:
        super().__init__(expectation, running)
        self._count = 0

    def observe(self, event: Event, time_s: float) -> None:
        expected = self.expectation
        if not isinstance(event, AgreementEvent) or time_s not in expected:
            return
        tracks = tuple(expected.tracks)
        if (event.camera_b, event.camera_a) == expected.cameras:
            tracks = tracks[::-1]
        elif (event.camera_a, event.camera_b) != expected.cameras:
            return
        self._count += sum(
            pair.agrees and tracks in ((), (pair.track_a, pair.track_b)) for pair in event.pairs
        )

    def outcome(self) -> Outcome:
        passed = self._count >= self.expectation.at_least
        return Outcome(self.expectation, passed, f'{self._count} agreements')


class _NotRejectedCheck(_Check):
    def __init__(self, expectation: NotRejected, running: bool) -> None:
        super().__init__(expectation, running)
        self._judged = self._reported = 0
        self._before: int | None = None
        self._seen = False
        self._reasons: set[str] = set()

    def observe(self, event: Event, time_s: float) -> None:
        if not isinstance(event, (LctEvent, TrustEvent)) or not self._is_of_camera(event):
            return
        self._seen = self._seen or time_s in self.expectation
        if isinstance(event, LctEvent):
            if time_s in self.expectation:
                self._judged += sum(event.rejected.values())
                self._reasons |= event.rejected.keys()
        else:
            # A running graph publishes the number of rejected LCTs since its start.
            if time_s < self.expectation.start or self._before is None:
                self._before = event.rejected
            if time_s in self.expectation:
                self._reported = event.rejected - self._before

    def outcome(self) -> Outcome:
        if not self._seen:  # a camera of another name has no rejected LCTs either
            return Outcome(self.expectation, False, 'no LCTs and no report in that time')
        count = max(self._judged, self._reported)
        reasons = f': {", ".join(sorted(self._reasons))}' if self._reasons else ''
        passed = count <= self.expectation.at_most
        return Outcome(self.expectation, passed, f'{count} rejected{reasons}')


class _RateCheck(_Check):
    def __init__(self, expectation: Rate, running: bool) -> None:
        super().__init__(expectation, running)
        self._count = 0
        self._seen = False

    def observe(self, event: Event, time_s: float) -> None:
        if isinstance(event, (ArrivalEvent, TrustEvent)):
            return
        if _stream(event) == self.expectation.stream:
            self._seen = True
            self._count += time_s in self.expectation

    def outcome(self) -> Outcome:
        expected = self.expectation
        if not self._seen:  # a stream of another name has a rate of 0 too
            return Outcome(expected, False, 'no message at any time')
        rate = self._count / (expected.end - expected.start)
        passed = expected.at_least <= rate <= expected.at_most
        return Outcome(expected, passed, f'{rate:.2f} Hz')


class _LatencyCheck(_Check):
    def __init__(self, expectation: Latency, running: bool) -> None:
        super().__init__(expectation, running)
        self._count, self._worst_s = 0, 0.0

    def observe(self, event: Event, time_s: float) -> None:
        if not isinstance(event, ArrivalEvent) or event.stream != self.expectation.stream:
            return
        if time_s in self.expectation:
            self._count += 1
            self._worst_s = max(self._worst_s, event.latency_s)

    def outcome(self) -> Outcome:
        if not self.running:
            return Outcome(self.expectation, None, 'a running graph is needed: use sage watch')
        if not self._count:
            return Outcome(self.expectation, False, 'no message in that time')
        passed = self._worst_s < self.expectation.below
        return Outcome(self.expectation, passed, f'at most {self._worst_s:.3f} s')


_CHECKS: dict[type, Callable[[Any, bool], _Check]] = {
    Attended: _AttendedCheck,
    FaultRaised: _FaultCheck,
    Trust: _TrustCheck,
    Agreement: _AgreementCheck,
    NotRejected: _NotRejectedCheck,
    Rate: _RateCheck,
    Latency: _LatencyCheck,
}
