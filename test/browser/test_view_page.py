# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage view` with Rerun: the recording file, and the web viewer in a browser."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip(
    'rerun', reason='rerun-sdk is not installed: pip install -r requirements/view.txt'
)

ROOT = Path(__file__).resolve().parents[2]
BAG = ROOT / 'test' / 'data' / 'bags' / 'sage_msgs_0_1'
RERUN = Path(sys.executable).with_name('rerun')
VIEW = [sys.executable, '-W', 'error', '-m', 'sage_perception.cli.main', 'view']
# Messages of the viewer itself: it measures its usage over the network, and renders on the CPU.
OF_RERUN = (
    'ERR_NAME_NOT_RESOLVED',
    'Failed to fetch',
    'deprecated parameters',
    'Expected one or none',
    'No available adapters',
    'Software rasterizer',
    'egui viewport command',
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """The Rerun recording of the released bag."""
    path = tmp_path_factory.mktemp('view') / 'bag.rrd'
    done = subprocess.run(
        [*VIEW, str(BAG), '--save', str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'70 messages drawn to {path}\n'
    assert 'WARN' not in done.stderr
    return path


def test_recording_has_all_entities_and_timelines(recording):
    done = subprocess.run(
        [RERUN, 'rrd', 'print', '-vv', recording], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for entity in (
        *('/cam0/image', '/cam0/regions', '/cam0/crops', '/cam0/latents', '/projection/cam1'),
        *('/trust/cam0', '/latency/cam1', '/matches/graph', '/memory/recall', '/fused'),
    ):
        assert entity in done.stdout, entity
    for timeline in ('stamp', 'received'):
        assert timeline in done.stdout
    assert subprocess.run([RERUN, 'rrd', 'verify', recording]).returncode == 0


def test_web_viewer_draws_the_bag(browser):
    ports = free_port(), free_port()
    command = [*VIEW, str(BAG), '--web', '--web-port', str(ports[0]), '--grpc-port', str(ports[1])]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        word, url = process.stdout.readline().split()
        assert word == 'open'
        assert process.stdout.readline() == '70 messages drawn\n'
        assert process.stdout.readline() == 'press Ctrl-C to end\n'
        page = browser.new_page(viewport={'width': 1280, 'height': 800})
        errors: list[str] = []
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.on('console', lambda m: m.type in ('error', 'warning') and errors.append(m.text))
        page.goto(url)
        colors = 0
        for _ in range(30):
            page.wait_for_timeout(2000)
            shot = cv2.imdecode(np.frombuffer(page.screenshot(timeout=60000), np.uint8), 1)
            # Crops, reconstructions and heat maps are colorful; the viewer without data is gray.
            saturated = np.ptp(shot.astype(int), axis=2) > 60
            colors = saturated[60:-60].mean()
            if colors > 0.02:
                break
        assert colors > 0.02
        assert page.locator('canvas').count() == 1
        assert [e for e in errors if not any(known in e for known in OF_RERUN)] == []
        page.close()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
