# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The HTML report of the demo, from the messages of a released bag."""

from pathlib import Path

import numpy as np
import pytest

from sage_perception.bags.reader import open_bag
from sage_perception.cli.demo.measure import read, summarize
from sage_perception.cli.demo.recording import messages_of
from sage_perception.cli.demo.report import Strips, demo_report
from sage_perception.reports.html.render import render

BAG = Path(__file__).parents[1] / 'data' / 'bags' / 'sage_msgs_0_1'
CAMERAS = ['cam0', 'cam1']


@pytest.fixture(scope='module')
def report():
    """The report of the released bag, and what was read from it."""
    with open_bag(BAG) as bag:
        first = bag.deserialize('/cam0/crops', next(bag.messages(['/cam0/crops'])).data)
    stamp = first.header.stamp
    strips = Strips(CAMERAS, stamp.sec * 10**9 + stamp.nanosec, 0.5)
    run = read(strips.observe(messages_of(BAG)), CAMERAS)
    summary = {
        'footage': {'video': 'vtest.avi'},
        'duration_s': 1,
        'graph_up_s': 2.0,
        'bag': str(BAG),
        'processes': {'cam0/encoder': {'cpu_percent': 12.5, 'rss_mb': 200.1}},
        'replay': {name: {'identical': 9, 'latents_recorded': 10} for name in CAMERAS},
        **summarize(run, 1.0),
    }
    assert not strips.problems
    return run, demo_report(run, summary, strips.moments(), 40.0)


def test_charts_have_the_messages_of_the_bag(report):
    run, made = report
    charts = {chart.title: chart for chart in made.charts}
    rates = {series.name: np.sum(series.values) for series in charts['Frames'].series}
    assert rates['cam0 attended'] == len(run.cameras['cam0'].attended)
    latency = next(chart for title, chart in charts.items() if title.startswith('Latency'))
    assert latency.target == 40.0
    assert [len(series.values) for series in latency.series] == [
        len(run.cameras[name].latency) for name in CAMERAS
    ]
    trust = {series.name for series in charts['Trust of the entities'].series}
    assert trust == {'LCTs of cam0', 'LCTs of cam1', 'reputation of cam0', 'reputation of cam1'}
    sizes = {s.name: np.sum(s.values) for s in charts['Bytes of the latents'].series}
    assert sizes['cam0'] == sum(size for _, size in run.cameras['cam0'].size_bytes) > 0


def test_images_are_crops_and_reconstructions(report):
    _, made = report
    crops = [crop for moment in made.moments for crop in moment.crops]
    assert crops
    assert all(crop.reconstruction is not None for crop in crops if 'no LCT' not in crop.note)
    document = render(made)
    assert 'reconstruction of cam' in document
    assert '<h1>Demo: two cameras</h1>' in document


def test_tables_list_cameras_and_processes(report):
    _, made = report
    cameras, processes = made.tables
    assert [row[0] for row in cameras.rows] == CAMERAS
    assert processes.rows == (('cam0/encoder', 12.5, 200.1),)
