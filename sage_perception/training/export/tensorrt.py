# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Build TensorRT engines of a model folder with `trtexec`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from sage_perception.models import artifact
from sage_perception.training.config import ConfigError
from sage_perception.training.export.onnx_graph import input_shape

INPUTS = {artifact.ENCODER: 'x', artifact.DECODER: 'z'}
"""Graphs of a model of images, and the names of their inputs."""


def find_trtexec() -> str:
    """Return the path of `trtexec`. Raises `ConfigError` if it is not installed."""
    found = shutil.which('trtexec') or shutil.which('trtexec', path='/usr/src/tensorrt/bin')
    if not found:
        raise ConfigError(
            'trtexec is neither on PATH nor in /usr/src/tensorrt/bin: run this on the Jetson and '
            'install the JetPack package libnvinfer-bin'
        )
    return found


def build_engines(folder: Path, batch: int = 24) -> list[Path]:
    """Build TensorRT engines beside the ONNX graphs, in half precision, for 1 to `batch` images.

    An engine works only on the kind of device that it was built on. Raises `ConfigError` if
    `trtexec` is not installed or fails.
    """
    trtexec = find_trtexec()
    engines = []
    for file, name in INPUTS.items():
        engine = (folder / file).with_suffix('.engine')
        rest = 'x'.join(map(str, input_shape(folder / file)))
        command = [trtexec, f'--onnx={folder / file}', f'--saveEngine={engine}', '--fp16']
        for bound, count in (('min', 1), ('opt', batch // 3), ('max', batch)):
            command.append(f'--{bound}Shapes={name}:{count}x{rest}')
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigError(f'{trtexec} failed on {folder / file}:\n{done.stdout[-2000:]}')
        engines.append(engine)
    return engines
