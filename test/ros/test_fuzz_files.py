# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A short run of the fuzzer of files; `make fuzz` is the long one."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_parser_accepts_valid_files_and_rejects_damaged_ones_in_one_line(tmp_path):
    run = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'fuzz_files.py', '--cases', '400', '--first', '100000']
        + ['--workers', '2', '--json', tmp_path / 'security.json'],
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
