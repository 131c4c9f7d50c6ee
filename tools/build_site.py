#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Build the documentation site in out/docs and check its links.

The generator is installed into an environment of its own, .venv-docs, which also sees the packages
of the environment that runs this script: the Python reference imports them.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from site_links import external_links, faults, pages

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / '.venv-docs'
REQUIREMENTS = ROOT / 'requirements' / 'lock' / 'docs.txt'
SITE = ROOT / 'out' / 'docs'
MIN_PYTHON = (3, 11)  # required by the theme


def run(*command: object) -> None:
    """Run a command in the root of the repository; exit if it fails."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT)
    if done.returncode:
        sys.exit(f'build_site: failed: {" ".join(str(part) for part in command[:4])} ...')


def prepare() -> Path:
    """Create or update the environment of the generator, and return its Python."""
    python = ENVIRONMENT / 'bin' / 'python'
    stamp = ENVIRONMENT / 'requirements.sha256'
    packages = sysconfig.get_path('purelib')
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + packages.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == key:
        return python
    print('-- environment of the site generator', flush=True)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    venv.create(ENVIRONMENT, with_pip=True)
    pip = [python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
    run(*pip, '--require-hashes', '-r', REQUIREMENTS)
    own = next(ENVIRONMENT.glob('lib/python*/site-packages'))
    # The own packages come first in sys.path.
    (own / 'sage.pth').write_text(f'import site; site.addsitedir({packages!r})\n')
    stamp.write_text(key)
    return python


def main() -> int:
    """Build the site; exit with 1 if a page has a warning or a broken link."""
    if sys.version_info < MIN_PYTHON:
        return fail(f'Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or later is required')
    python = prepare()
    shutil.rmtree(SITE, ignore_errors=True)
    sphinx = [python, '-m', 'sphinx', '-q', '-j', 'auto', '-W', '--keep-going', '-b', 'html']
    run(*sphinx, '-d', ROOT / 'out' / 'doctrees', 'docs', SITE)
    broken = faults(SITE)
    if broken:
        return fail('\n  '.join(['broken links:', *broken]))
    (SITE / 'external_links.txt').write_text('\n'.join(external_links(SITE)) + '\n')
    print(f'{len(pages(SITE))} pages: {SITE / "index.html"}')
    return 0


def fail(message: str) -> int:
    """Print an error and return the exit code."""
    print(f'build_site: {message}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
