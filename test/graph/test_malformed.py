# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Malformed messages and requests to all nodes of a graph, through DDS; see `make fuzz`."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COUNT = 1200


def test_no_malformed_message_ends_a_node(environment, tmp_path, record_property):
    out = tmp_path / 'security.json'
    done = subprocess.run(
        [sys.executable, str(ROOT / 'bench' / 'messages.py'), '--out', str(out)]
        + ['--count', str(COUNT), '--cameras', '1', '--composed'],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(out.read_text())['messages']
    record_property('messages', found)
    assert found['sent'] >= COUNT
    assert found['by_kind'].keys() == {'typed', 'raw', 'request'}
    assert (found['deaths'], found['log']) == (0, [])
    assert found['exceptions'] == 0, done.stderr[-4000:]
    assert found['unanswered_requests'] == 0
    assert found['silent_topics'] == [], 'the nodes still process valid messages'
