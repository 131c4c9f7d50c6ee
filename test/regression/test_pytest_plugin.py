# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin, in a package of a user."""

import os
import subprocess
import sys

import pytest

TEST = """
def test_baseline(sage_replay):
    verdict = sage_replay()
    assert verdict.passed, verdict.report
    assert sage_replay() is verdict

def test_rate(sage_replay):
    seconds, frames = sage_replay().result.summary.series('cam0/crops', 'frames')
    assert frames[1] == 10
"""
PLUGIN = 'sage_perception.regression.pytest_plugin'


@pytest.fixture
def package(tmp_path):
    (tmp_path / 'test_drive.py').write_text(TEST)
    return tmp_path


def run(package, *options):
    environment = {**os.environ, 'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1'}
    command = [sys.executable, '-m', 'pytest', '-q', '-rs', '-p', PLUGIN, *map(str, options)]
    done = subprocess.run(
        command, cwd=package, env=environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout


def test_bags_are_replayed_once_each_and_failures_have_the_report(package, golden, filtered):
    first = filtered(golden('single'), seconds=2.1, name='first')
    second = filtered(golden('dual'), '/cam1/', seconds=2.1, name='second')
    first.with_name('first.timeline.yaml').write_text(
        'version: 1\nexpectations: [rate: {stream: cam0/crops, at_least: 11.0, end: 2.0}]\n'
    )
    code, out = run(package, '--sage-bag', first, '--sage-bag', second)
    assert code == 1
    assert '1 failed, 3 passed' in out
    assert 'FAIL: the rate of cam0/crops is at least 11 Hz from 0 to 2 s: 10.00 Hz' in out
    assert 'test_baseline[first]' in out


def test_without_a_bag_the_tests_are_skipped(package):
    code, out = run(package)
    assert code == 0
    assert 'no bag: give one with --sage-bag' in out


def test_plugin_imports_nothing_else():
    program = (
        f'import sys, pytest; before = set(sys.modules); import {PLUGIN}; '
        'print(*sorted(m for m in set(sys.modules) - before if not m.startswith("sage_")))'
    )
    out = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True).stdout
    assert {name.partition('.')[0] for name in out.split()} <= {'importlib', '__future__'}
