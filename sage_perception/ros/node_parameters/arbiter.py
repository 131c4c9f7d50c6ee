# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the arbiter node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from sage_perception.ros.camera_poses import BASE_FRAME, CAMERA_POSES
from sage_perception.ros.common_parameters import (
    CAMERA_ENTITIES,
    CAMERAS,
    MAX_AGE,
)
from sage_perception.ros.identity import KEY, KEYS, OPERATORS, REQUIRE_SIGNATURES
from sage_perception.ros.parameters import Parameter, values_by_camera
from sage_perception.trust import ArbiterConfig
from sage_perception.trust.fusion.geometry import CameraGeometry

ARBITER = (
    CAMERAS,
    Parameter(
        'model',
        'tinyvae',
        'Model whose latent space all LCTs are translated to: the name of a model that ships '
        'with sage, or the folder of an artifact. A slot model arbitrates slots.',
        read_only=True,
    ),
    Parameter(
        'agreement_fpr',
        0.005,
        'Share of pairs of different objects that may be taken for the same one and fused: '
        'identity codes, appearance, colors and geometry of crops are compared together, by the '
        'fit of the model. 0, or a model without a fit, uses agreement_threshold.',
        minimum=0.0,
        maximum=0.1,
        read_only=True,
    ),
    Parameter(
        'agreement_threshold',
        0.7,
        'Cosine of two latents above which crops are taken for the same object and fused, with '
        'agreement_fpr at 0 or a model without a fitted agreement. It has no effect otherwise.',
        minimum=-1.0,
        maximum=1.0,
    ),
    Parameter(
        'shared_view',
        False,
        'All cameras see the same scene. A camera that agrees with none for a minute while the '
        'others agree is then suspect: its LCTs are not fused, and withheld if it has a key. If '
        'false, it may see other objects, and its reputation falls to 0.5. Takes effect with '
        'three cameras or more.',
        read_only=True,
    ),
    Parameter(
        'consistency_power',
        8.0,
        'Exponent of the weight of a view in the fusion: the cosine of its latent with the fused '
        'latents of its track in the last second. A view that agreed before and no longer does '
        'stays in the fusion for 5 s with its weight. 0: views that agree are weighed by trust '
        'and variance alone.',
        minimum=0.0,
        maximum=16.0,
        read_only=True,
    ),
    Parameter(
        'challenge_period_s',
        60.0,
        'Mean time between challenges of a camera to encode new images, seconds; 0: none.',
        minimum=0.0,
        maximum=86400.0,
        read_only=True,
    ),
    Parameter(
        'sync_slop_s',
        0.02,
        'Maximum difference between the stamps of frames that are fused, seconds.',
        minimum=0.0,
        maximum=1.0,
        read_only=True,
    ),
    Parameter(
        'sync_timeout_s',
        0.15,
        'Time to wait for the frames of the other cameras, seconds. After it, a frame is '
        'fused without them.',
        minimum=0.0,
        maximum=10.0,
        read_only=True,
    ),
    MAX_AGE,
    REQUIRE_SIGNATURES,
    OPERATORS,
    CAMERA_ENTITIES,
    Parameter(
        'camera_geometry',
        '',
        'Files with the geometry between the primary camera and another one, as camera=file, '
        'separated by commas: a homography or fundamental matrix that excludes impossible '
        'matches (format: trust/fusion/geometry.py).',
        read_only=True,
    ),
    CAMERA_POSES,
    BASE_FRAME,
    Parameter(
        'pose_tolerance_px',
        20.0,
        'Distance from its epipolar line up to which a crop can match, pixels, for calibrated '
        'cameras with poses and without camera_geometry; 0: poses exclude no match.',
        minimum=0.0,
        maximum=10000.0,
        read_only=True,
    ),
    KEYS,
    KEY,
)


def arbiter_config(values: Mapping[str, Any]) -> ArbiterConfig:
    """Return the settings of `Arbiter` from the values of the parameters."""
    return ArbiterConfig(**{field.name: values[field.name] for field in fields(ArbiterConfig)})


def read_geometry(files: str, cameras: Sequence[str]) -> dict[str, CameraGeometry]:
    """Return the geometry of cameras from the value of `camera_geometry`.

    Raises `ValueError` that names the parameter for a value of another form, and for a file that
    cannot be read.
    """
    name = 'camera_geometry'
    paths = values_by_camera(name, files, cameras)
    try:
        return {
            camera: CameraGeometry.read(Path(path).expanduser()) for camera, path in paths.items()
        }
    except ValueError as error:
        raise ValueError(f'parameter {name!r}: {error}') from error
