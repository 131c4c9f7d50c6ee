# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`timeline.launch.py`, run by the public launch_testing on a golden bag."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    'launch_testing', reason='launch_testing is not installed (a ROS 2 from apt has it)'
)
pytest.importorskip('launch_ros', reason='launch_ros is not installed (a ROS 2 from apt has it)')

from golden import raw_bag

FILE = Path(__file__).with_name('timeline.launch.py')
TIMELINE = """\
version: 1
expectations:
  - rate: {stream: cam0/crops, at_least: 5.0, start: 0.5, end: 2.5}
  - not_rejected: {camera: cam0, end: 2.5}
  - attended: {camera: cam0, region: [0, 0, 320, 240], start: 1.5, end: 2.5, share: 0.7}
"""
PROGRAM = 'from launch_testing.launch_test import main; main()'


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    return raw_bag('single', tmp_path_factory.mktemp('launch') / 'single', seconds=3.4)


def launch_test(bag, timeline, tmp_path):
    environment = {
        **os.environ,
        'ROS_LOG_DIR': str(tmp_path),
        'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1',
    }
    arguments = [str(FILE), f'bag:={bag}', f'timeline:={timeline}']
    return subprocess.run(
        [sys.executable, '-c', PROGRAM, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )


@pytest.mark.parametrize('met', [True, False])
def test_verdict_is_that_of_the_timeline(bag, met, tmp_path):
    timeline = tmp_path / 'single.timeline.yaml'
    timeline.write_text(TIMELINE if met else TIMELINE.replace('5.0', '50.0'))
    done = launch_test(bag, timeline, tmp_path)
    output = done.stdout + done.stderr
    assert ('pass: the rate of cam0/crops' in output) is met, output
    assert ('FAIL: the rate of cam0/crops' in output) is not met, output
    assert (done.returncode == 0) is met, output
