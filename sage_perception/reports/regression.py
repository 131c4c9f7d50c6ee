# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The HTML report of `sage regress`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sage_perception.codecs.latent_decoder import LatentDecoder
from sage_perception.core.text import counted
from sage_perception.regression.compare import Difference, worst
from sage_perception.regression.events import Observer
from sage_perception.regression.regress import Regression
from sage_perception.reports.environment import environment
from sage_perception.reports.html.report import Chart, Moment, Report, Table, Verdict
from sage_perception.reports.moments import MomentCollector, Wanted
from sage_perception.reports.summary_charts import summary_charts

MAX_MOMENTS = 20
"""Maximum number of moments with images."""
MAX_ROWS = 100
"""Maximum number of differences in the table."""

Replay = Callable[[Sequence[Observer]], object]
"""Replays the bag again with observers."""


def regression_moments(
    found: Regression, replay: Replay, decoder: LatentDecoder
) -> tuple[Moment, ...]:
    """Return the moments of the worst differences and of the failed expectations.

    `replay` is called once, if there are any; a replay is deterministic, so that the images are
    those that were judged.
    """
    wanted = wanted_moments(found)
    if not wanted:
        return ()
    collector = MomentCollector(wanted)
    replay([collector])
    return collector.moments(decoder)


def wanted_moments(found: Regression) -> list[Wanted]:
    """Return at most `MAX_MOMENTS` moments to show for a verdict, those of differences first."""
    cameras = tuple(found.result.stages)
    wanted = [_wanted(each, cameras) for each in worst(found.differences)]
    for outcome in found.outcomes:
        if outcome.passed is False:
            named = getattr(outcome.expectation, 'cameras', None) or (
                getattr(outcome.expectation, 'camera', ''),
            )
            shown = tuple(camera for camera in cameras if camera in named) or cameras
            second = getattr(outcome.expectation, 'start', getattr(outcome.expectation, 'at', 0.0))
            wanted.append(
                Wanted(str(outcome.expectation), float(second), shown, detail=outcome.detail)
            )
    return wanted[:MAX_MOMENTS]


def _wanted(difference: Difference, cameras: tuple[str, ...]) -> Wanted:
    source = difference.stream.rpartition('/')[0]
    named = tuple(camera for camera in cameras if camera in source.split('+'))
    track = difference.track.partition('+')[0]
    return Wanted(
        title=f'{difference.stream}: {difference.what}',
        second=float(difference.second),
        cameras=named or cameras,
        track=int(track) if track.isdecimal() else None,
        detail=str(difference),
    )


def regression_report(
    found: Regression, moments: Sequence[Moment] = (), charts: Sequence[Chart] = ()
) -> Report:
    """Return the report of a verdict; `charts` follow those of the summaries."""
    result = found.result
    verdict = Verdict.PASS if found.passed else Verdict.FAIL
    summaries = {'': result.summary}
    if found.baseline is not None:
        summaries['baseline'] = found.baseline.summary
    return Report(
        title=f'Replay of {found.bag.name}',
        summary=_sentence(found),
        verdict=verdict,
        facts=(
            ('frames', result.frames),
            ('cameras', ', '.join(f'{name} ({s})' for name, s in result.stages.items())),
            ('duration, s', round(result.duration_s, 2)),
            ('differences', len(found.differences)),
            ('expectations', _kept(found)),
            ('times real time', round(result.realtime_factor, 2)),
        ),
        tables=tuple(_tables(found)),
        charts=(*summary_charts(summaries), *charts),
        moments=tuple(moments),
        environment=(
            *((f'{name} SHA-256', value) for name, value in result.summary.hashes.items()),
            *environment(),
        ),
    )


def _sentence(found: Regression) -> str:
    parts = []
    if found.baseline is not None:
        number = len(found.differences)
        parts.append(
            f'{counted(number, "difference")} from the baseline'
            if number
            else 'equal to the baseline'
        )
    failed = sum(outcome.passed is False for outcome in found.outcomes)
    if found.outcomes:
        parts.append(f'{failed} of {len(found.outcomes)} expectations failed')
    text = ', '.join(parts)
    return f'{text[:1].upper()}{text[1:]}.'


def _kept(found: Regression) -> str:
    judged = [outcome for outcome in found.outcomes if outcome.passed is not None]
    return f'{sum(bool(o.passed) for o in judged)} of {len(judged)}' if judged else 'none'


def _tables(found: Regression) -> list[Table]:
    tables = []
    if found.differences:
        rows = tuple(
            (d.stream, d.track, d.second, d.what, _shown(d.value), _shown(d.baseline), d.severity)
            for d in found.differences[:MAX_ROWS]
        )
        note = 'Severity is the difference in multiples of the tolerance.'
        if len(found.differences) > MAX_ROWS:
            note += f' The {MAX_ROWS} worst of {len(found.differences)} differences.'
        columns = ('stream', 'track', 'second', 'what', 'value', 'baseline', 'severity')
        tables.append(Table('Differences', columns, rows, note))
    if found.changes:
        tables.append(Table('Changed inputs', ('change',), tuple((c,) for c in found.changes)))
    if found.outcomes:
        words = {True: 'pass', False: 'FAIL', None: 'not judged offline'}
        judged = tuple((words[o.passed], str(o.expectation), o.detail) for o in found.outcomes)
        tables.append(Table('Expectations', ('result', 'expectation', 'detail'), judged))
    stages = tuple(found.result.stages_ms.items())
    tables.append(
        Table(
            'Time of the replay',
            ('stage', 'ms per frame'),
            stages,
            'Stages of several cameras run in parallel.',
        )
    )
    if found.result.notes:
        tables.append(Table('Notes', ('note',), tuple((note,) for note in found.result.notes)))
    return tables


def _shown(value: float | list[float] | None) -> str:
    if value is None:
        return '–'
    numbers = value if isinstance(value, list) else [value]
    return ', '.join(f'{number:.4g}' for number in numbers)
