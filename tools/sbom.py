# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Write a software bill of materials (CycloneDX) of what `make build` installs.

The components are the pins of the lock files, with the hashes of their files, and torch, which is
pinned without a hash because it is published in several builds of one version. A pin with a
marker, such as one for another Python, is a component, too. The models and the messages of sage
are part of its own version. cyclonedx-py runs in an environment of its own, as uv does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / 'requirements'
GENERATOR = 'cyclonedx-bom==7.5.0'
DISTRIBUTIONS = ('jazzy', 'kilted')


def pins(distribution: str) -> str:
    """Return the pins of an environment as the text of one requirements file."""
    files = ('lock/common.txt', f'lock/ros-{distribution}.txt', 'torch.txt')
    return '\n'.join((REQUIREMENTS / file).read_text() for file in files)


def install_generator(folder: Path) -> Path:
    """Create an environment in `folder` that has cyclonedx-py, unless it exists; return it."""
    program = folder / 'bin' / 'cyclonedx-py'
    if not program.exists():
        subprocess.run([sys.executable, '-m', 'venv', folder], check=True)
        subprocess.run([folder / 'bin' / 'pip', 'install', '-q', GENERATOR], check=True)
    return program


def write_sbom(program: Path, distribution: str, output: Path) -> int:
    """Write the bill of materials of a distribution; return the number of components."""
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [program, 'requirements', '-', '--output-reproducible', '-o', output]
    # Modules on PYTHONPATH would take precedence over those of its own environment.
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    subprocess.run(command, input=pins(distribution), text=True, check=True, env=environment)
    return len(json.loads(output.read_text())['components'])


def main() -> int:
    """Write the bill of materials of each distribution; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--venv', type=Path, default=ROOT / '.venv-sbom')
    parser.add_argument('--out', type=Path, default=ROOT / 'out' / 'sbom')
    args = parser.parse_args()
    try:
        program = install_generator(args.venv)
        for distribution in DISTRIBUTIONS:
            output = args.out / f'sage-{distribution}.cdx.json'
            count = write_sbom(program, distribution, output)
            print(f'{output}: {count} components')
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    return 0


if __name__ == '__main__':
    sys.exit(main())
