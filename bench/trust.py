# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the quality of all trust estimates.

Prints the main figures as one JSON object and writes all of them to out/bench/trust.json. The
parts are same_object.py, compatibility.py, failsafe.py and security.py. The figures of
bench/flood.py, which needs a running graph, are read from out/bench/flood.json. Run
`tools/fetch_images.py` first to fetch the data. Takes ten minutes of one core, most of it for
`compatibility`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import compatibility
import cv2
import failsafe
import same_object
import security
import torch
from result_file import add_out, show_result, write_result

from sage_perception.models import load
from sage_perception.training.config import read_config
from sage_perception.training.trust.calibrate import calibrate_quality

FLOOD = Path('out/bench/flood.json')
PARTS = ('same_object', 'telemetry', 'compatibility', 'failsafe', 'alarms', 'security')


def summary(found: dict[str, dict]) -> dict:
    """Return the main figures of all parts, None for a part that was not measured."""

    def of(part, key):
        return found.get(part, {}).get(key)

    flood = json.loads(FLOOD.read_text()) if FLOOD.is_file() else {}
    return {
        'auroc_centered': of('same_object', 'auroc_centered'),
        'auroc_raw': of('same_object', 'auroc_raw'),
        'spearman_trust_quality': of('compatibility', 'spearman_trust_quality'),
        'pairs': of('compatibility', 'pairs'),
        'alignment_recovery': of('compatibility', 'alignment_recovery'),
        'failsafe': of('failsafe', 'faults'),
        'false_alarm_rate': of('alarms', 'false_alarm_rate'),
        'security': {key: of('security', key) for key in ('mutated', 'accepted', 'crashes')},
        'verify_per_s': of('security', 'verify_per_s'),
        'flood_loss_honest': flood.get('flood_loss_honest'),
        **({} if flood else {'flood_loss_honest_why': f'{FLOOD} is missing: run bench/flood.py'}),
    }


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--model', default='tinyvae', help='name or folder of the model')
    parser.add_argument('--data', type=Path, default=Path('out/data/images'))
    parser.add_argument('--shared', type=Path, help='folder with further two-view sets and video')
    parser.add_argument('--config', type=Path, default=Path('config/train/tinyvae.yaml'))
    parser.add_argument('--steps', type=int, default=120, help='training steps of each network')
    parser.add_argument('--mutations', type=int, default=20_000)
    add_out(parser, 'trust')
    parser.add_argument(
        '--part', choices=PARTS, help='measure only this part and keep the figures of the others'
    )
    args = parser.parse_args()
    for name in (failsafe.CLIP, *same_object.FILES):
        if not any(args.data.rglob(f'*{name}')):
            print(f'{name} is missing in {args.data}: run tools/fetch_images.py', file=sys.stderr)
            return 1
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    codec = load(args.model)
    measure = {
        'same_object': lambda: same_object.measure(codec, args.data, args.shared),
        'telemetry': lambda: calibrate_quality(codec, read_config(args.config).data)[1],
        'compatibility': lambda: compatibility.measure(
            args.model, args.data, args.config, args.steps
        ),
        'failsafe': lambda: failsafe.measure(codec, args.data),
        'alarms': lambda: failsafe.false_alarms(args.data, args.shared),
        'security': lambda: security.measure(args.mutations, seed=0),
    }
    found = {}
    if args.part and args.out.is_file():
        found = json.loads(args.out.read_text())['details']
    for part in [args.part] if args.part else PARTS:
        print(f'{part} ...', file=sys.stderr)
        found[part] = {**measure[part](), 'model': str(codec.id)}
    result = summary(found)
    write_result(args.out, {**result, 'details': found})
    show_result(result)
    return 0


if __name__ == '__main__':
    sys.exit(main())
