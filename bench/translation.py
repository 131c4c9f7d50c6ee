# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the translation between sound, words, images, body and action.

python bench/translation.py                        # all parts, three seeds
python bench/translation.py digits bearing         # some parts
python bench/translation.py arm --seeds 1          # one seed

Each part is a file of bench/translation_parts with a function `measure(seeds)`, which returns its
figures with baselines. A part that has ended is written to the output, so the bench can be
stopped and started again with the parts that are left. The recordings of digits are not part of
the project: the variable SAGE_FSDD has their folder. Parts that simulate an arm or rooms need
`.venv/bin/pip install -r requirements/lock/bench.txt`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import time

from result_file import add_out, store

from sage_perception.bringup.prefix import prepare_ros

PARTS = (
    *('digits', 'sound_to_image', 'bearing', 'voice_activity', 'sound_node', 'goal_words'),
    *('audio_irp', 'look_at'),
    *('grounding', 'fusion', 'tokens', 'puzzle', 'hops', 'arm', 'halting', 'codebook', 'graph'),
)
PACKAGES = {'arm': 'pybullet', 'bearing': 'pyroomacoustics'}
"""What parts need beside the development packages."""
INSTALL = '.venv/bin/pip install -r requirements/lock/bench.txt'


def main() -> int:
    """Run the chosen parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('parts', nargs='*', metavar='PART', help=f'{", ".join(PARTS)}; all')
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
    add_out(parser, 'translation')
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f'unknown part {unknown[0]}; use {", ".join(PARTS)}')
    chosen = options.parts or PARTS
    for name in chosen:
        package = PACKAGES.get(name)
        if package is not None and importlib.util.find_spec(package) is None:
            parser.error(f'{name} needs {package}: {INSTALL}')
    if 'graph' in chosen:
        prepare_ros()  # before all parts, because it may start this program again
    for name in chosen:
        start_s = time.monotonic()
        part = importlib.import_module(f'translation_parts.{name}')
        store(options.out, name, part.measure(options.seeds))
        print(f'{name}: {time.monotonic() - start_s:.0f} s', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
