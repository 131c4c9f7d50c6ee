# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Benches of graphs end in bounded time, and on SIGTERM; nodes to be fuzzed read everything.

The memory of nodes is what they allocate.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / 'bench' / 'malformed'
START = f"""\
import sys, time
sys.path.insert(0, {str(FOLDER)!r})
from fuzzing.ending import end_within
"""


def run(script):
    return subprocess.Popen(
        [sys.executable, '-c', START + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends_well(process):
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def test_it_ends_after_its_time_with_the_place_where_it_waits():
    process = run('end_within(0.3); time.sleep(60)')
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert 'time.sleep' in errors or 'most recent call first' in errors


def test_sigterm_cleans_up():
    process = run(
        "end_within(60)\ntry:\n    print('ready', flush=True); time.sleep(60)\n"
        "finally:\n    print('clean')"
    )
    assert process.stdout.readline() == 'ready\n'
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (128 + signal.SIGTERM, 'clean\n')
    assert time.monotonic() - begun < 10


def test_a_node_to_be_fuzzed_reads_every_message():
    process = run(
        'from fuzzing.unlimited import lift_limits\n'
        'from sage_perception.trust.security import rate_limit as limits\n'
        'lift_limits()\n'
        'quota, limiter = limits.PublisherQuota(), limits.PublisherRateLimiter()\n'
        'of_bucket = limits.PublisherQuota(rate=limits.TokenBucket.RATE, '
        'burst=limits.TokenBucket.BURST)\n'
        'for _ in range(1000):\n'
        "    limiter.note(b'a', accepted=False)\n"
        "    assert quota.admits(b'a') and limiter.admits(b'a') and of_bucket.admits(b'a')\n"
    )
    ends_well(process)


def test_pages_of_files_are_not_the_memory_of_a_process(tmp_path):
    file = tmp_path / 'library'
    file.write_bytes(bytes(50_000_000))
    process = run(
        'import mmap, os\n'
        'from fuzzing.own_memory import own_memory_mb\n'
        'before = own_memory_mb(os.getpid())\n'
        f"opened = open({str(file)!r}, 'rb')\n"
        'mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)\n'
        'assert sum(mapped[::4096]) == 0\n'
        'assert own_memory_mb(os.getpid()) - before < 10\n'
        "allocated = b'1' * 50_000_000\n"
        'assert 45 < own_memory_mb(os.getpid()) - before < 60\n'
    )
    ends_well(process)
