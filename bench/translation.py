# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the translation between sound, words, images, body and action.

python bench/translation.py                        # all parts, three seeds
python bench/translation.py digits bearing         # some parts
python bench/translation.py arm --seeds 1          # one seed

Each part is a file of bench/translation_parts with a function `measure(seeds)`, which returns its
figures with baselines. A part that has ended is written to the output, so the bench can be
stopped and started again with the parts that are left. The recordings of digits are not part of
the project: the variable SAGE_FSDD has their folder.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from result_file import store

PARTS = (
    *('digits', 'sound_to_image', 'bearing', 'voice_activity', 'sound_node'),
    *('grounding', 'fusion', 'puzzle', 'hops', 'arm', 'halting'),
)


def main() -> int:
    """Run the chosen parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('parts', nargs='*', metavar='PART', help=f'{", ".join(PARTS)}; all')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--out', type=Path, default=Path('out/bench/translation.json'))
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f'unknown part {unknown[0]}; use {", ".join(PARTS)}')
    for name in options.parts or PARTS:
        start_s = time.monotonic()
        part = importlib.import_module(f'translation_parts.{name}')
        store(options.out, name, part.measure(options.seeds))
        print(f'{name}: {time.monotonic() - start_s:.0f} s', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
