# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Progress bars on a terminal and elsewhere."""

import os
import pty
import re
import subprocess
import sys

import pytest

from sage_perception.core import progress as module
from sage_perception.core.progress import progress, track

SCRIPT = """
import time
from sage_perception.core.progress import progress, track
for _ in track(range(3), 'outer'):
    with progress('inner') as bar:
        bar.advance(text='renamed')
        time.sleep(0.4)
print('done')
"""


def test_nothing_but_a_line_of_long_operations_is_printed_to_a_file(capsys, monkeypatch):
    assert list(track(iter('abc'), 'reading', 3)) == list('abc')
    assert capsys.readouterr().err == ''
    monkeypatch.setattr(module, 'LONG_S', 0.0)
    assert list(track('abc', 'reading')) == list('abc')
    assert re.fullmatch(r'reading: 3 in \d+\.\d s\n', capsys.readouterr().err)
    with progress('exporting'):
        pass
    assert re.fullmatch(r'exporting: \d+\.\d s\n', capsys.readouterr().err)


def test_an_error_passes_through_the_bar():
    with pytest.raises(ValueError, match='inside'), progress('trying', 2):
        raise ValueError('inside')


def test_a_terminal_shows_nested_bars_and_removes_them():
    own, terminal = pty.openpty()
    environment = {**os.environ, 'TERM': 'xterm', 'COLUMNS': '100'}
    process = subprocess.Popen(
        [sys.executable, '-c', SCRIPT],
        stdout=terminal,
        stderr=terminal,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    os.close(terminal)
    output = b''
    try:
        while block := os.read(own, 65536):
            output += block
    except OSError:  # the terminal was closed
        pass
    os.close(own)
    assert process.wait(30) == 0
    text = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', output.decode())
    assert 'outer' in text
    assert 'renamed' in text
    assert '1/3' in text
    assert text.rstrip().endswith('done')
