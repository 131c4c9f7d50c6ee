# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the conduct of the graph under attack by insiders, outsiders and stolen keys.

Writes `scenarios` {liar, colluders, poisoned, ratchet, oracle, control} to
out/bench/security.json, prints the main figures, and keeps the other figures of that file. Takes
ten minutes of one core with three seeds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import scenarios
import signed_messages
from live_statistics import live_statistics
from result_file import add_out, show_result

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tools'))
from fuzz.results import merge


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--probe-sets', type=int, default=200, help='poisoned probe sets')
    parser.add_argument(
        '--footage',
        type=Path,
        default=Path('out/data/footage'),
        help='folder of videos, see tools/fetch_footage.py (default: out/data/footage)',
    )
    add_out(parser, 'security')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    found = {'oracle': signed_messages.oracle()}
    found |= scenarios.measure(args.seeds, args.probe_sets)
    found['poisoned']['live'] = live_statistics(args.footage)
    merge('scenarios', found, args.out)
    show_result({name: _brief(value) for name, value in found.items()})
    return 0


def _brief(figures: dict) -> dict:
    return {name: value for name, value in figures.items() if not isinstance(value, (dict, list))}


if __name__ == '__main__':
    sys.exit(main())
