# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Timelines: reading, and the judgment of each kind of expectation on events."""

import math

import pytest

from sage_perception.core.latent import Roi
from sage_perception.regression.events import (
    AgreementEvent,
    ArrivalEvent,
    FrameEvent,
    FusedEvent,
    LctEvent,
    Pair,
    Region,
    TrustEvent,
)
from sage_perception.regression.expectations import KINDS
from sage_perception.regression.judge import Judge
from sage_perception.regression.timeline import find_timelines, read_timeline
from sage_perception.regression.watch import WatchFault, streams_of
from sage_perception.vision.camera_health import Fault

START_NS = 1_700_000_000 * 10**9


def ns(time_s):
    return START_NS + round(time_s * 1e9)


def timeline_of(tmp_path, *expectations):
    path = tmp_path / 'walk.timeline.yaml'
    items = ''.join(f'  - {each}\n' for each in expectations)
    path.write_text(f'version: 1\nexpectations:\n{items}')
    return read_timeline(path)


def frame(time_s, center=(50, 50), fault=Fault.NONE, camera='cam0'):
    x, y = center
    region = Region(1, Roi(x - 10, y - 10, 20, 20), 0.5)
    return FrameEvent(camera, ns(time_s), (320, 240), fault, [region])


def report(time_s, reputation, rejected=0, camera='cam0'):
    return TrustEvent(camera, ns(time_s), reputation, math.nan, 10, rejected)


def judged(tmp_path, expectation, events, **options):
    judge = Judge(timeline_of(tmp_path, expectation), **options)
    judge(frame(0.0, center=(200, 200)))
    for event in events:
        judge(event)
    [outcome] = judge.outcomes()
    return outcome.passed


def frames(start, end, **options):
    return [frame(0.1 * i, **options) for i in range(round(10 * start), round(10 * end))]


@pytest.mark.parametrize(
    ('events', 'passed'),
    [
        (frames(1, 2), True),
        (frames(1, 1.9) + frames(1.9, 2, center=(90, 90)), True),
        (frames(1, 1.8) + frames(1.8, 2, center=(90, 90)), False),
        (frames(1, 2, center=(61, 50)), False),
        (frames(1, 2, center=(60, 40)), True),
        (frames(1, 2, camera='cam1'), False),
        (frames(2, 3), False),
        ([], False),
    ],
)
def test_attended(tmp_path, events, passed):
    expectation = 'attended: {camera: cam0, region: [40, 40, 20, 20], start: 1.0, end: 2.0}'
    assert judged(tmp_path, expectation, events) is passed


@pytest.mark.parametrize(
    ('raised_s', 'kind', 'passed'),
    [(2.0, 'COVERED', True), (2.3, 'COVERED', True), (2.5, 'COVERED', False),
     (1.6, 'COVERED', False), (2.0, 'FROZEN', False)],
)  # fmt: skip
def test_fault(tmp_path, raised_s, kind, passed):
    events = frames(0, raised_s) + frames(raised_s, 4, fault=Fault[kind])
    expectation = 'fault: {camera: cam0, kind: covered, at: 2.0, within: 0.35}'
    assert judged(tmp_path, expectation, events) is passed


def test_a_rejected_frame_does_not_end_a_fault(tmp_path):
    expectation = 'fault: {camera: cam0, kind: covered, at: 2.0, within: 0.35}'
    covered = frames(1, 3, fault=Fault.COVERED)
    broken = FrameEvent('cam0', ns(2.0), (0, 0), Fault.UNKNOWN, [], rejected='not an image')
    assert judged(tmp_path, expectation, [*covered[:10], broken, *covered[10:]]) is False


@pytest.mark.parametrize(
    ('values', 'passed'),
    [((0.5, 0.6), True), ((0.5, 0.9), False), ((0.3, 0.5), False), ((), False)],
)
def test_trust(tmp_path, values, passed):
    events = [report(1 + number, value) for number, value in enumerate(values)]
    expectation = 'trust: {camera: cam0, above: 0.4, below: 0.8, start: 1.0, end: 3.0}'
    assert judged(tmp_path, expectation, [report(0.5, 0.0), *events, report(3, 0)]) is passed


@pytest.mark.parametrize(
    ('cameras', 'tracks', 'agrees', 'passed'),
    [
        (('cam0', 'cam1'), (1, 2), True, True),
        (('cam1', 'cam0'), (2, 1), True, True),
        (('cam0', 'cam1'), (2, 1), True, False),
        (('cam0', 'cam2'), (1, 2), True, False),
        (('cam0', 'cam1'), (1, 2), False, False),
    ],
)
def test_agreement(tmp_path, cameras, tracks, agrees, passed):
    event = AgreementEvent(*cameras, ns(1.5), [Pair(*tracks, 0.9, agrees)])
    fields = 'cameras: [cam0, cam1], tracks: [1, 2], start: 1.0, end: 2.0, at_least: 2'
    assert judged(tmp_path, f'agreement: {{{fields}}}', [event, event]) is passed
    assert judged(tmp_path, f'agreement: {{{fields}}}', [event]) is False


def test_not_rejected_counts_verdicts_offline_and_reports_online(tmp_path):
    expectation = 'not_rejected: {camera: cam0, start: 1.0, end: 2.0, at_most: 1}'
    once = LctEvent('cam0', ns(1.5), [], {'replayed': 1})
    assert judged(tmp_path, expectation, [once])
    assert not judged(tmp_path, expectation, [once, once])
    early, inside = LctEvent('cam0', ns(0.5), [], {'replayed': 9}), LctEvent('cam0', ns(1.5), [])
    assert judged(tmp_path, expectation, [early, inside])
    assert judged(tmp_path, expectation, [report(0.5, 1, 5), report(1.5, 1, 6)])
    assert not judged(tmp_path, expectation, [report(0.5, 1, 5), report(1.5, 1, 7)])


def test_not_rejected_needs_lcts_or_a_report_of_the_camera_in_the_window(tmp_path):
    expectation = 'not_rejected: {camera: cam0, start: 1.0, end: 2.0}'
    other = LctEvent('cam1', ns(1.5), [])
    assert judged(tmp_path, expectation, [other, LctEvent('cam0', ns(0.5), [])]) is False
    assert judged(tmp_path, expectation, [other, LctEvent('cam0', ns(1.5), [])]) is True
    assert judged(tmp_path, expectation, [other, report(1.5, 1.0)]) is True


@pytest.mark.parametrize(('count', 'passed'), [(9, False), (10, True), (12, True), (13, False)])
def test_rate(tmp_path, count, passed):
    events = [FusedEvent(ns(1 + i / count), []) for i in range(count)]
    expectation = 'rate: {stream: fused, at_least: 10.0, at_most: 12.0, start: 1.0, end: 2.0}'
    assert judged(tmp_path, expectation, events) is passed


@pytest.mark.parametrize(('stream', 'passed'), [('cam0/crops', True), ('cam1/crops', False)])
def test_low_rate_needs_a_stream_that_exists(tmp_path, stream, passed):
    expectation = f'rate: {{stream: {stream}, at_most: 5.0, start: 1.0, end: 2.0}}'
    assert judged(tmp_path, expectation, frames(0, 1)) is passed


def test_latency_is_judged_in_a_running_graph_only(tmp_path):
    expectation = 'latency: {stream: cam0/crops, below: 0.5, end: 2.0}'
    early, late = (ArrivalEvent('cam0/crops', ns(1.0), latency_s) for latency_s in (0.4, 0.6))
    assert judged(tmp_path, expectation, [early], running=True) is True
    assert judged(tmp_path, expectation, [early, late], running=True) is False
    assert judged(tmp_path, expectation, [], running=True) is False
    assert judged(tmp_path, expectation, [early]) is None


def test_time_0_is_the_first_frame_and_the_judge_finishes_after_the_last_expectation(tmp_path):
    judge = Judge(timeline_of(tmp_path, 'not_rejected: {camera: cam0, end: 1.0}'))
    judge(TrustEvent('cam0', 0, 0.5, 0.5, 0, 0))
    assert not judge.started
    judge(frame(3.0))
    assert judge.started
    judge(frame(4.4))
    assert not judge.finished
    judge(frame(4.6))
    assert judge.finished


def test_topics_of_a_timeline(tmp_path):
    timeline = timeline_of(
        tmp_path,
        'trust: {camera: cam1, above: 0.1, end: 1.0}',
        'agreement: {cameras: [cam0, cam1], end: 1.0}',
        'rate: {stream: cam0/lcts, at_least: 1.0, end: 1.0}',
    )
    assert streams_of(timeline) == [
        *('cam1/crops', 'cam0/crops', 'trust_report', 'agreement', 'cam0/lcts')
    ]
    with pytest.raises(WatchFault, match=r'names no camera, but the first frame .* is time 0'):
        streams_of(timeline_of(tmp_path, 'rate: {stream: fused, at_least: 1.0, end: 1.0}'))


def test_every_kind_is_documented_in_words(tmp_path):
    examples = [
        'attended: {camera: cam0, region: [1, 2, 3, 4], end: 1.0}',
        'fault: {camera: cam0, kind: noise, at: 1.0}',
        'trust: {camera: cam0, below: 0.5, end: 1.0}',
        'agreement: {cameras: [a, b], end: 1.0}',
        'not_rejected: {camera: cam0, end: 1.0}',
        'rate: {stream: fused, at_least: 1.0, end: 1.0}',
        'latency: {stream: fused, below: 1.0, end: 1.0}',
    ]
    timeline = timeline_of(tmp_path, *examples)
    assert [type(each) for each in timeline.expectations] == list(KINDS.values())
    texts = [str(each) for each in timeline.expectations]
    assert texts[1] == 'cam0 raises noise at 1 s ± 0.5 s'
    assert texts[3] == 'a and b agree at least once from 0 to 1 s'
    assert texts[4] == 'no LCT of cam0 is rejected from 0 to 1 s'
    assert texts[6] == 'the latency of fused is below 1 s from 0 to 1 s'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'the file is empty'),
        ('version: 2\nexpectations: []', 'version is 2; it must be 1'),
        ('version: 1', 'expectations must be a list of 1 to 1000 items'),
        ('version: 1\nexpectations: []\nmore: 1', 'more is unknown'),
        ('version: 1\nexpectations: [3]', 'expectation 1 must be one of attended'),
        ('version: 1\nexpectations: [{rates: {}}]', 'rates is unknown: did you mean rate?'),
        ('version: 1\nexpectations: [{rate: 3}]', 'expectation 1, rate is 3'),
        ('version: 1\nexpectations: [{rate: {}}]', 'expectation 1, rate.end is missing'),
        (
            'version: 1\nexpectations: [{rate: {stream: a, end: 0.0}}]',
            'end is 0.0; it must be later than start, 0.0',
        ),
        (
            'version: 1\nexpectations: [{rate: {stream: fused, end: 1.0}}]',
            'at_least or at_most is missing',
        ),
        (
            'version: 1\nexpectations: [{trust: {camera: a, end: 1.0}}]',
            'above or below is missing',
        ),
        (
            'version: 1\nexpectations: [{trust: {camera: a, end: 1.0, above: .nan}}]',
            'above is nan',
        ),
        (
            'version: 1\nexpectations: [{fault: {camera: a, at: 1.0, kind: x}}]',
            "kind is 'x'; it must be one of stale",
        ),
        (
            'version: 1\nexpectations: [{attended: {camera: a, end: 1.0, region: [1, 2]}}]',
            'region is [1, 2]; it must be [x, y, width, height]',
        ),
        (
            'version: 1\nexpectations: [{agreement: {cameras: [a], end: 1.0}}]',
            "cameras is ['a']; it must be two cameras",
        ),
        ('version: 1\nexpectations: [{latency: {stream: a, end: 1.0, below: 0.0}}]', 'below is'),
        (
            'version: 1\nexpectations: [{latency: {stream: cam0/fused, end: 1.0, below: 0.1}}]',
            "stream is 'cam0/fused'; it must be CAMERA/crops, CAMERA/lcts, agreement or fused",
        ),
        (
            'version: 1\nexpectations: [{rate: {stream: cam0/image_raw, end: 1.0, at_most: 9.0}}]',
            "stream is 'cam0/image_raw'; it must be CAMERA/crops",
        ),
        ('a: &a [*a]', 'alias'),
    ],
)
def test_invalid_timeline_is_one_line(tmp_path, text, message):
    path = tmp_path / 'x.timeline.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'x\.timeline\.yaml') as error:
        read_timeline(path)
    assert message in str(error.value)
    assert '\n' not in str(error.value)


def test_timelines_of_a_bag_are_found(tmp_path):
    bag = tmp_path / 'walk'
    bag.mkdir()
    names = ['walk.timeline.yaml', 'walk.night.timeline.yaml', 'walker.timeline.yaml']
    for path in (*(tmp_path / name for name in names), bag / 'inside.timeline.yaml'):
        path.touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_timelines(bag)]
    assert found == ['walk/inside.timeline.yaml', *sorted(names[:2])]
