# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The HTML report of `sage regress`: plots of summaries, and images around differences."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from sage_perception.bags.reader import open_bag
from sage_perception.cli.regress import main
from sage_perception.core.latent import Roi
from sage_perception.regression.events import FrameEvent, LctEvent, Region
from sage_perception.regression.expectations import FaultRaised
from sage_perception.regression.judge import Outcome
from sage_perception.regression.regress import Regression
from sage_perception.regression.replay import ReplayResult
from sage_perception.regression.summary import Summary
from sage_perception.reports.moments import MomentCollector, Wanted
from sage_perception.reports.recorded_latency import recorded_latency
from sage_perception.reports.regression import MAX_MOMENTS, wanted_moments
from sage_perception.reports.summary_charts import summary_charts
from sage_perception.vision.camera_health import Fault

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """The golden bag of one camera with its baseline."""
    folder = tmp_path_factory.mktemp('golden')
    tool = [sys.executable, str(ROOT / 'tools' / 'make_golden_bags.py'), str(folder), 'single']
    subprocess.run(tool, check=True, capture_output=True)
    assert main([str(folder / 'single'), '--update']) == 0
    return folder / 'single'


def test_report_of_an_unchanged_replay(bag, tmp_path, capsys):
    path = tmp_path / 'new' / 'report.html'
    assert main([str(bag), '--html', str(path)]) == 0
    assert str(path) in capsys.readouterr().err
    document = path.read_text()
    assert 'class="verdict pass"' in document
    assert document.count('class="chart"') >= 4
    assert 'class="moment"' not in document
    assert 'model SHA-256' in document


def test_report_plots_the_latency_of_recorded_messages(tmp_path, capsys):
    """The released bag was recorded from a running graph."""
    recorded = ROOT / 'test' / 'data' / 'bags' / 'sage_msgs_0_2'
    with open_bag(recorded) as bag:
        expected = defaultdict(list)
        for message in bag.messages(['/cam0/lcts']):
            stamp = bag.deserialize(message.topic, message.data).header.stamp
            second = (message.log_time_ns - bag.start_ns) // 10**9
            stamp_ns = stamp.sec * 10**9 + stamp.nanosec
            expected[second].append((message.log_time_ns - stamp_ns) * 1e-6)
    (chart,) = recorded_latency(recorded)
    (series,) = [each for each in chart.series if each.name == 'cam0/lcts']
    assert list(series.times_s) == sorted(expected)
    quantiles = [np.percentile(expected[second], 95) for second in sorted(expected)]
    assert list(series.values) == pytest.approx(quantiles)
    path, baseline = tmp_path / 'report.html', tmp_path / 'baseline.json'
    options = [str(recorded), '--baseline', str(baseline)]
    assert main([*options, '--update']) == 0
    assert main([*options, '--html', str(path)]) == 0
    assert 'Latency of the recorded messages' in path.read_text()


def test_bag_with_equal_stamps_and_log_times_has_no_latency_plot(bag):
    assert recorded_latency(bag) == ()


def test_report_shows_the_frames_and_crops_of_differences(bag, tmp_path, capsys):
    path, params = tmp_path / 'report.html', tmp_path / 'params.yaml'
    params.write_text('/**/attention:\n  ros__parameters:\n    max_crops: 1\n')
    assert main([str(bag), '--params', str(params), '--html', str(path)]) == 1
    document = path.read_text()
    output = capsys.readouterr().out
    assert 'class="verdict fail"' in document
    titles = re.findall(r'<h3>(.*?) <a class="time"', document)
    named = re.findall(r'^  (\S+?)(?:,.*)? second (\d+): (\S+)', output, re.MULTILINE)
    assert len(titles) == len(named) > 0
    for title, (stream, _, what) in zip(titles, named, strict=True):
        assert title == f'{stream}: {what}'
    assert document.count('<image href="data:image/jpeg') >= len(titles)
    assert 'reconstruction of cam0, track' in document
    assert 'max_crops is 1' in document


def test_charts_have_the_values_of_the_summary():
    summary = Summary()
    for second in range(3):
        cells = {
            '': {'frames': 30, 'lcts': 60, 'bytes': 100.0},
            '1': {'frames': 30, 'trust': 0.5},
            '2': {'frames': 10, 'trust': 0.9},
        }
        summary.set_second('robot1/cam0/lcts', second, cells)
    charts = {chart.title: chart for chart in summary_charts({'': summary, 'baseline': summary})}
    assert set(charts) == {'Crops', 'Trust of the LCTs', 'Bytes of the latents'}
    trust = charts['Trust of the LCTs'].series
    assert [series.name for series in trust] == ['robot1/cam0', 'robot1/cam0, baseline']
    assert list(trust[0].values) == pytest.approx([0.6] * 3)  # weighted by the frames
    assert list(charts['Bytes of the latents'].series[0].values) == [3000.0] * 3


@pytest.mark.parametrize('frames', [0, -5])
def test_charts_of_an_edited_baseline_with_impossible_counts(frames):
    summary = Summary()
    summary.set_second('cam0/lcts', 0, {'1': {'frames': frames, 'trust': 0.5}})
    [chart] = summary_charts({'': summary})
    assert list(chart.series[0].values) == [0.5]


def frame(time_s, tracks, image=None):
    regions = [Region(track, Roi(10 * track, 0, 8, 8), 0.5) for track in tracks]
    inputs = np.full((len(tracks), 3, 16, 16), 0.5, np.float32) if tracks else None
    stamp_ns = 10**18 + round(time_s * 1e9)
    return FrameEvent('cam0', stamp_ns, (64, 48), Fault.NONE, regions, '', image, inputs)


def test_collector_keeps_frames_at_fixed_times_and_marks_the_track():
    collector = MomentCollector([Wanted('a', 2.0, ('cam0',), track=3)])
    image = np.zeros((48, 64, 3), np.uint8)
    for i in range(50):
        event = frame(i / 10, [3, 4] if i >= 24 else [4], image)
        collector(event)
        collector(LctEvent('cam0', event.stamp_ns, []))
    (moment,) = collector.moments(decoder=None)
    labels = [each.label for each in moment.frames]
    assert labels == ['cam0, 2.00 s', 'cam0, 2.50 s', 'cam0, 3.00 s']
    assert [[r.marked for r in f.regions] for f in moment.frames] == [[False]] + [
        [True, False]
    ] * 2
    # The crops are those of the first frame that shows the track.
    assert [crop.label for crop in moment.crops] == ['cam0, track 3', 'cam0, track 4']


def test_frames_without_images_are_composed_of_their_crops():
    collector = MomentCollector([Wanted('a', 0.0, ('cam0',))])
    collector(frame(0, [1, 2]))
    (moment,) = collector.moments(decoder=None)
    (shown,) = moment.frames
    assert shown.image.shape == (48, 64, 3)
    assert (shown.image[0:8, 10:18] > 100).all()
    assert shown.label.endswith('composed of the crops')


def test_moments_of_other_cameras_are_not_kept():
    collector = MomentCollector([Wanted('a', 0.0, ('cam1',))])
    collector(frame(0, [1]))
    assert collector.moments(decoder=None)[0].frames == ()


def test_large_frames_are_kept_in_the_size_of_a_report():
    collector = MomentCollector([Wanted('a', 0.0, ('cam0',))])
    collector(frame(0, [3], np.zeros((1080, 1920, 3), np.uint8)))
    (moment,) = collector.moments(decoder=None)
    (shown,) = moment.frames
    assert shown.image.shape == (270, 480, 3)
    assert [region.roi for region in shown.regions] == [Roi(8, 0, 2, 2)]


def test_number_of_moments_is_bounded():
    summary = Summary()
    expected = FaultRaised(camera='cam0', kind='covered', at=1.0)
    outcomes = [Outcome(expected, False, 'never raised')] * 1000
    found = Regression(Path('bag'), ReplayResult(summary, stages={'cam0': 'images'}))
    found.outcomes = outcomes
    assert len(wanted_moments(found)) == MAX_MOMENTS


def test_folder_as_report_is_an_error_before_the_replay(tmp_path, capsys):
    assert main([str(tmp_path / 'absent'), '--html', str(tmp_path)]) == 2
    assert f'--html {tmp_path} is a folder: name a file' in capsys.readouterr().err
