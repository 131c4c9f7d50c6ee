# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how well slot models find objects, beside simple baselines.

python bench/slots.py --parts node                                # the shipped model: size, time
python bench/slots.py --parts real --clips DAVIS                  # real video with masks
python bench/slots.py --parts graph --clips DAVIS --views FOLDER  # still scenes, two cameras
python bench/slots.py --parts video --sequences out/train/slot_sequences*
python bench/slots.py --parts sets --sets tetrominoes --seeds 1 2 3 4
python bench/slots.py --parts sets --sets solids --minutes 10 --reference
python bench/slots.py --parts losses --seeds 1 2 --minutes 2

A training is a run of config/train/slots_SET.yaml with another seed, in out/train. It is resumed
from its last checkpoint, and not repeated if it has ended, so the bench can be stopped and started
again. Scenes of the test have a seed of their own, which neither training nor validation uses.
Each part replaces its own rows of out/bench/slots.json and keeps the others.

Baselines, each with its best setting on the test scenes: connected areas whose neighboring pixels
differ little in color; K-means of color and position of the pixels; a fixed grid. `--reference`
adds a plain Slot Attention (random starts, gradient through all rounds) at the same cost.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from result_file import add_out, store
from slots_parts import graph, node, real, sets, video

from sage_perception.models import ModelError
from sage_perception.training.config import ConfigError

PARTS = ('sets', 'video', 'losses', 'real', 'graph', 'node')


def main() -> int:
    """Measure the chosen parts, and write each result as soon as it exists."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=['node'])
    parser.add_argument('--sets', nargs='+', choices=sets.SETS, default=list(sets.SETS))
    parser.add_argument('--seeds', nargs='+', type=int, default=[1])
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--minutes', type=float, help='CPU minutes of each training (losses: 2)')
    group.add_argument('--steps', type=int, help='steps of each training')
    parser.add_argument('--reference', action='store_true', help='train a plain model as well')
    parser.add_argument(
        '--model', default='slots', help='slot model of all parts but sets and losses'
    )
    parser.add_argument('--sequences', nargs='*', type=Path, default=[], metavar='RUN')
    parser.add_argument('--videos', type=int, default=60, help='test videos (%(default)s)')
    parser.add_argument('--clips', type=Path, help='folder with JPEGImages and Annotations')
    parser.add_argument('--views', type=Path, help='folder of clips with two views and masks')
    parser.add_argument('--frames', type=int, default=20, help='frames of a clip (%(default)s)')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch (%(default)s)')
    add_out(parser, 'slots')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if {'real', 'graph'} & {*args.parts} and args.clips is None:
        parser.error('the parts real and graph require --clips')
    if 'graph' in args.parts and args.views is None:
        parser.error('the part graph requires --views')
    length = sets.Length(args.minutes, args.steps)
    try:
        for part in args.parts:
            if part == 'sets':
                for name in args.sets:
                    found = sets.measure_set(name, args.seeds, length, args.reference)
                    store(args.out, f'sets.{name}', found)
            elif part == 'losses':
                each = length if any(length) else sets.LOSSES_LENGTH
                store(args.out, part, sets.measure_losses(args.seeds, each))
            elif part == 'video':
                store(args.out, part, video.measure(args.model, args.sequences, args.videos))
            elif part == 'real':
                store(args.out, part, real.measure(args.model, args.clips, args.frames))
            elif part == 'graph':
                store(args.out, part, graph.measure(args.model, args.clips, args.views))
            else:
                store(args.out, part, node.measure(args.model))
    except (ConfigError, ModelError) as error:
        sys.exit(f'error: {error}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
