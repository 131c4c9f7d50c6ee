# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage benchmark` measures a real graph."""

import json
import os
import subprocess
import sys


def test_benchmark_measures_a_composed_camera(tmp_path):
    out = tmp_path / 'report.json'
    command = [sys.executable, '-m', 'sage_perception.cli.main', 'benchmark', '--cameras', '1']
    command += ['--rate', '10', '--duration', '3', '--composed', 'graph', '--out', str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    [run] = report['runs']
    assert run['attended'] > 0.5
    assert 0 < run['fps'] <= 11
    assert 0 < run['p50_ms'] <= run['p95_ms']
    assert run['fused_p95_ms'] > 0
    assert list(run['processes']) == ['container']
    assert run['pss_mb'] > 50
    assert run['nodes']['cam0/encoder']['cpu_percent'] > 0
    assert run['nodes']['cam0/attention']['attend_p95_ms'] > 0
    assert len(report['input']['sha256']) == 64
    table = out.with_suffix('.md').read_text()
    assert table.strip() in done.stdout
    assert '| 1 | one | 10.0 |' in table
