# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A short run of the fuzzer of files; `make fuzz` is the long one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TASK = {'parser': 'any', 'case': 0}
ANSWER = json.dumps({**TASK, 'result': 'accepted'})


def test_every_parser_accepts_valid_files_and_rejects_damaged_ones_in_one_line(tmp_path):
    run = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'fuzz_files.py', '--cases', '400', '--first', '100000']
        + ['--workers', '2', '--out', tmp_path / 'security.json'],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    files = json.loads((tmp_path / 'security.json').read_text())['files']
    assert files['tried'] >= 390
    assert {files[key] for key in ('tracebacks', 'hangs', 'aborts', 'rejects_valid')} == {0}
    # A mutation that no parser notices would test nothing.
    results = files['parsers'].values()
    assert sum(each.get('rejected', 0) for each in results) > files['tried'] // 3


@pytest.mark.parametrize(
    ('script', 'blocked_s', 'result'),
    [
        ('while True: pass', 60.0, 'hang'),
        ('import time; time.sleep(60)', 2.0, 'hang'),
        # As on a loaded machine: later than the limit of CPU time, but without using the CPU.
        (f'import time; time.sleep(1.5); print({ANSWER!r})', 60.0, 'accepted'),
    ],
)
def test_a_case_hangs_if_it_uses_much_cpu_time_or_never_ends(
    tmp_path, monkeypatch, script, blocked_s, result
):
    monkeypatch.syspath_prepend(ROOT / 'tools')
    import fuzz_files

    class Scripted(fuzz_files.Worker):
        COMMAND = (sys.executable, '-c', script)

    monkeypatch.setattr(fuzz_files, 'START_TIMEOUT_S', 0.5)
    monkeypatch.setattr(fuzz_files, 'BLOCKED_TIMEOUT_S', blocked_s)
    worker = Scripted(tmp_path)
    try:
        assert worker.judge(TASK)['result'] == result
    finally:
        worker.stop()
