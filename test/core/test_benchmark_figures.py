# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of a measurement: latency, drops, jitter, growth, power and tables."""

import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.benchmark import figures, usage
from sage_perception.benchmark.figures import Window
from sage_perception.benchmark.footage import cameras_of, describe, render_video
from sage_perception.benchmark.machine import machine, markdown
from sage_perception.benchmark.usage import PowerMeter, UsageMeter, tegra_milliwatts

MS = 1_000_000


def arrivals(count, latency_ms, period_ms=10):
    return [
        (n * period_ms * MS, n * period_ms * MS + round(latency_ms(n) * MS)) for n in range(count)
    ]


def test_only_stamps_in_the_window_count():
    window = Window(100 * MS, 200 * MS)
    got = figures.latencies_ms(arrivals(100, lambda n: n), window)
    assert got.tolist() == list(range(10, 20))
    assert window.seconds == pytest.approx(0.1)


@given(st.sets(st.integers(0, 199), max_size=199))
def test_attended_and_drops_agree_with_the_dropped_frames(dropped):
    window = Window(0, 2000 * MS)
    published = arrivals(200, lambda n: 1)
    encoded = [pair for n, pair in enumerate(published) if n not in dropped]
    assert figures.attended(published, encoded, window) == pytest.approx(1 - len(dropped) / 200)
    runs = ''.join('x' if n in dropped else ' ' for n in range(200)).split()
    assert figures.max_drop(published, encoded, window) == max(map(len, runs), default=0)


def test_a_latency_that_grows_is_seen_and_a_constant_one_is_not():
    window = Window(0, 3000 * MS)
    assert figures.growth(arrivals(300, lambda n: 20), window) == 1.0
    assert figures.growth(arrivals(300, lambda n: 10 + n), window) > 2
    assert figures.growth([], window) is None


def test_jitter_is_the_deviation_of_the_intervals():
    window = Window(0, 1000 * MS)
    assert figures.jitter_ms(arrivals(100, lambda n: 5), window) == 0
    alternating = figures.jitter_ms(arrivals(100, lambda n: 5 + 2 * (n % 2)), window)
    assert alternating == pytest.approx(2, abs=0.01)
    assert figures.jitter_ms([], window) is None


def test_usage_of_this_process_is_measured():
    meter = UsageMeter({'test': os.getpid()})
    ballast = np.ones(8_000_000)
    while meter._start_s + 0.2 > usage.time.monotonic():
        ballast.sum()
    found = meter.read()['test']
    assert found.cpu_percent > 10
    assert found.rss_mb > 50
    assert found.pss_mb is None or 50 < found.pss_mb <= found.rss_mb


def test_a_process_that_ended_is_a_failed_measurement():
    measure = pytest.importorskip('sage_perception.benchmark.measure')
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    with pytest.raises(measure.MeasurementError, match='a process of the graph ended'):
        measure._use(lambda: {'cam0/camera': ended.pid}, 0.1)


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('RAM 3/7 CPU [1%@729] VDD_IN 4940mW/4940mW VDD_CPU 1mW/1mW', [4940]),
        ('RAM 3/3 POM_5V_IN 2532/2532 POM_5V_GPU 40/40', [2532]),
        ('RAM 3/7 CPU [1%@729]', []),
    ],
)
def test_input_power_is_read_from_tegrastats(line, expected):
    assert tegra_milliwatts(line) == expected


def test_rapl_counts_packages_but_not_their_parts(tmp_path, monkeypatch):
    for zone, energy in {
        'intel-rapl:0': '1000',
        'intel-rapl:0:0': '7',
        'intel-rapl:1': 'x',
    }.items():
        (tmp_path / zone).mkdir()
        (tmp_path / zone / 'energy_uj').write_text(energy)
    monkeypatch.setattr(usage, 'RAPL', tmp_path)
    monkeypatch.setattr(usage.shutil, 'which', lambda name: None)
    meter = PowerMeter()
    (tmp_path / 'intel-rapl:0' / 'energy_uj').write_text('3001000')
    found = meter.read()
    assert found['source'] == 'RAPL'
    assert found['watts'] > 0
    (tmp_path / 'intel-rapl:0' / 'energy_uj').unlink()
    assert PowerMeter().read() == {'watts': 'not readable', 'source': 'not readable'}


def test_tegrastats_is_read_and_ends_with_the_measurement(tmp_path, monkeypatch):
    program = tmp_path / 'tegrastats'
    program.write_text('#!/bin/sh\necho VDD_IN 4000mW/4000mW\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    with PowerMeter() as meter:
        for _ in range(500):
            if meter.read()['source'] == 'tegrastats':
                break
            time.sleep(0.01)
        assert meter.read() == {'watts': 4.0, 'source': 'tegrastats'}
    assert meter._process.returncode is not None


def test_the_video_is_rendered_once_and_hashed(tmp_path):
    path = render_video(tmp_path / 'new' / 'video.avi')
    first = path.stat().st_mtime_ns
    assert render_video(path).stat().st_mtime_ns == first
    assert len(describe(path)['sha256']) == 64
    cameras = cameras_of(path, 3, 60.0)
    assert [camera.name for camera in cameras] == ['cam0', 'cam1', 'cam2']
    assert all('fps=60&lock=wall' in camera.source for camera in cameras)


def test_the_table_shows_runs_failures_and_nodes():
    process = {'cpu_percent': 50.0, 'pss_mb': 400.0, 'rss_mb': 500.0}
    run = {
        'composition': 'graph',
        'cameras': 2,
        'rate_hz': 30.0,
        'fps': 29.9,
        'attended': 0.998,
        'p50_ms': 12.0,
        'p95_ms': 20.0,
        'fused_p95_ms': None,
        'cpu_percent': 50.0,
        'pss_mb': 400.0,
        'power': {'watts': 'not readable', 'source': 'not readable'},
        'processes': {'container': process},
        'nodes': {'cam0/encoder': {'encode_p95_ms': 4.25, 'cpu_percent': 11.0}},
    }
    failed = {'composition': 'none', 'cameras': 2, 'rate_hz': 30.0, 'error': 'no frames\nmore'}
    report = {
        'machine': machine(),
        'input': {'video': 'v.avi', 'sha256': '', 'size': '640x480'},
        'runs': [run, failed],
    }
    lines = markdown(report).splitlines()
    table = [line for line in lines if line.startswith('|')]
    assert (
        '| 2 | one | 30.0 | 29.9 | 99.8% | 12.0 | 20.0 | – | 50.0 | 400.0 | not readable |'
        in table
    )
    assert '| 2 | one per node | 30.0 | failed: no frames |' in '\n'.join(table)
    assert '| graph | cam0/encoder | 11.0 | – | 4.2 |' in table
    assert '| graph | container | 50.0 | 400.0 | – |' in table
    widths = {line.count('|') for line in table[:4]}
    assert len(widths) == 1, 'every row of a table has the same number of cells'


def test_a_domain_that_a_process_of_this_computer_uses_is_not_taken(monkeypatch):
    measure = pytest.importorskip('sage_perception.benchmark.measure')
    monkeypatch.delenv('ROS_DOMAIN_ID', raising=False)
    free = measure.free_domain()
    assert 60 <= free < 100
    monkeypatch.setattr(measure.random, 'sample', lambda domains, count: [free, free + 1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as used:
        used.bind(('', 7410 + 250 * free))
        assert measure.free_domain() == free + 1 or not measure._is_free(free + 1)
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')
    assert measure.free_domain() == 7
