# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the nodes that offline replay runs too, one table for each node.

`nodes` declares them, and `regression` reads the same tables, so that a parameter file has one
meaning and one validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from sage_perception.codecs.packing import Encoding
from sage_perception.core.redact import require_no_password
from sage_perception.memory.opening import CAPACITY, ENVIRONMENT
from sage_perception.pipeline.error_sampler import MEASURE_EVERY
from sage_perception.ros.common_parameters import (
    AUTOSTART,
    CAMERA_ENTITIES,
    CAMERAS,
    IMAGE_TRANSPORT,
    MAX_AGE,
    threads,
)
from sage_perception.ros.identity import KEY, KEYS, OPERATORS, REQUIRE_SIGNATURES
from sage_perception.ros.parameters import Parameter, parameters_of
from sage_perception.vision.attention_config import AttentionConfig

MAX_RESULTS = 64  # bound of the sequence in QueryMemory

ENTITY_ID = Parameter(
    'entity_id',
    '',
    'Entity id in the LCTs; empty: the namespace of the node.',
    read_only=True,
)

ATTENTION = (
    *parameters_of(AttentionConfig),
    IMAGE_TRANSPORT,
    MAX_AGE,
    Parameter(
        'max_detections',
        16,
        'Maximum number of boxes on the topic detections that get crops, those with the highest '
        'scores; 0: the topic is not subscribed.',
        minimum=0,
        maximum=100,
        read_only=True,
    ),
    threads('OpenCV'),
    replace(ENTITY_ID, description='Entity that signs the crops; empty: the namespace.'),
    replace(
        KEY,
        description='Secret key of the entity, that of the encoder, which signs the crops: the '
        'file, or the folder that contains it; empty: crops are not signed.',
    ),
    Parameter(
        'require_local_images',
        False,
        'Use only images of nodes in the same process, see `composed`: a driver cannot sign '
        'images. If false, what is signed begins at this node.',
        read_only=True,
    ),
)

ENCODER = (
    AUTOSTART,
    Parameter(
        'model',
        'tinyvae',
        'Name of a model that ships with sage, or folder of an artifact.',
        read_only=True,
    ),
    Parameter(
        'backend',
        'auto',
        'Inference backend; auto: ONNX Runtime if it is installed and device is the CPU; '
        'tensorrt: the TensorRT provider of ONNX Runtime, whose engines are cached.',
        choices=('auto', 'torch', 'onnxruntime', 'tensorrt'),
        read_only=True,
    ),
    Parameter('device', 'auto', 'auto, cpu or cuda.', read_only=True),
    threads('ONNX Runtime'),
    MAX_AGE,
    Parameter(
        'precision',
        'fp32',
        'Floating-point precision of the model.',
        choices=('fp32', 'fp16'),
        read_only=True,
    ),
    Parameter(
        'encoding',
        'float32',
        'Encoding of transmitted latents. Bytes of a 64-D latent: float32 256, and 256 for '
        'the variance, which the other encodings omit; float16 128; int8 64; entropy_int8 '
        'about 40; vq the tokens of the codebook in the folder of the model.',
        choices=tuple(encoding.name.lower() for encoding in Encoding),
        read_only=True,
    ),
    Parameter(
        'telemetry',
        True,
        'Send the telemetry of each latent, 36 to 44 bytes, and with float32 its variance. If '
        'false, receivers know only its trust.',
        read_only=True,
    ),
    Parameter(
        'send_on_change',
        0.0,
        'Least change of a latent that is sent: its distance to the last one that was sent of its '
        'track, relative to its distance to the mean of the model. Tracks that moved, and each '
        'track once a second, are sent in any case. 0: all latents are sent.',
        minimum=0.0,
        maximum=1.0,
        read_only=True,
    ),
    Parameter(
        'max_bytes_per_s',
        0,
        'Bytes per second of the messages on lcts, averaged over one second; latents are left out '
        'in the order of the salience of their crops times their change. 0: no limit.',
        minimum=0,
        maximum=1_000_000_000,
        read_only=True,
    ),
    ENTITY_ID,
    KEY,
    replace(
        REQUIRE_SIGNATURES,
        description='Encode only crops of nodes in the same process, and crops that are signed '
        'with the key of this node: set the parameter `key` of attention too. If false, anyone '
        'on the network can have crops encoded and signed.',
    ),
    Parameter(
        'measure_every',
        MEASURE_EVERY,
        'Period in frames at which the latent of each track is decoded to measure its '
        'reconstruction error; the last error is used in between. 1: every latent.',
        minimum=1,
        maximum=100,
        read_only=True,
    ),
    Parameter(
        'refine_budget_ms',
        0.0,
        'Time to refine the latents of a frame, milliseconds: gradient descent, on torch, '
        'reduces their reconstruction errors. 0: no refinement.',
        minimum=0.0,
        maximum=1000.0,
        read_only=True,
    ),
    Parameter(
        'output',
        'latents',
        'Published for each crop: its latent on lcts, its residual (crop minus '
        'reconstruction) on residuals, or both.',
        choices=('latents', 'residuals', 'both'),
        read_only=True,
    ),
)

ARBITER = (
    CAMERAS,
    Parameter(
        'model',
        'tinyvae',
        'Model whose latent space all LCTs are translated to: the name of a model that ships '
        'with sage, or the folder of an artifact.',
        read_only=True,
    ),
    Parameter(
        'agreement_threshold',
        0.7,
        'Similarity above which two crops are taken for the same object and fused.',
        minimum=-1.0,
        maximum=1.0,
    ),
    Parameter(
        'agreement_fpr',
        0.0,
        'Share of pairs of different objects that may be taken for the same one: the crops are '
        'compared by the identity head of the model at the threshold fitted for this rate, such '
        'as 0.1. 0 uses agreement_threshold and weighted latents.',
        minimum=0.0,
        maximum=0.1,
        read_only=True,
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
    KEYS,
    KEY,
)

MEMORY = (
    Parameter(
        'model',
        'tinyvae',
        'Model of the latents to store, the same as that of the arbiter: name of a model that '
        'ships with sage, or folder of an artifact.',
        read_only=True,
    ),
    Parameter(
        'store',
        '',
        'SQLite file, or postgresql://user@host/database for a fleet, without a password '
        '(~/.pgpass, PGPASSFILE, a service file or PGPASSWORD has it); empty: a file named '
        f'after the node in ${ENVIRONMENT}, which defaults to ~/.local/share/sage.',
        read_only=True,
        rule=require_no_password,
    ),
    Parameter(
        'capacity',
        CAPACITY,
        'Maximum number of records; above it, the records of lowest retention are deleted.',
        minimum=1,
        maximum=10_000_000,
        read_only=True,
    ),
    Parameter(
        'half_life_h',
        24.0,
        'Time in which the retention value of a record halves, hours.',
        minimum=0.001,
        maximum=1e5,
        read_only=True,
    ),
    Parameter(
        'threshold',
        0.7,
        'Minimum salience of an observation to be stored; 0: every novel observation.',
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        'min_novelty',
        0.1,
        'Minimum novelty of an observation to be stored: 1 - its similarity to the nearest '
        'record.',
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        'rate',
        5.0,
        'Maximum rate at which frames of each camera are observed, Hz.',
        minimum=0.1,
        maximum=60.0,
        read_only=True,
    ),
    Parameter(
        'recall_rate',
        1.0,
        'Maximum rate of recalls for each camera, Hz.',
        minimum=0.1,
        maximum=10.0,
        read_only=True,
    ),
    Parameter(
        'recall_count',
        8,
        'Maximum number of LCTs in a recall.',
        minimum=1,
        maximum=MAX_RESULTS,
    ),
    Parameter(
        'min_recall_age_s',
        10.0,
        'Minimum age of a recalled record, seconds; excludes objects that are still in view.',
        minimum=0.0,
        maximum=1e6,
    ),
    REQUIRE_SIGNATURES,
    OPERATORS,
    KEYS,
    KEY,
)

COMPRESSOR = (
    AUTOSTART,
    CAMERAS,
    CAMERA_ENTITIES,
    Parameter(
        'model',
        'h_to_l_hybrid',
        'Name of a compressor that ships with sage, or folder of an artifact.',
        read_only=True,
    ),
    Parameter(
        'backend',
        'auto',
        'Inference backend; auto: ONNX Runtime if it is installed.',
        choices=('auto', 'torch', 'onnxruntime'),
        read_only=True,
    ),
    Parameter(
        'rate',
        5.0,
        'Maximum rate of contexts, Hz; without new frames no context is published.',
        minimum=0.1,
        maximum=30.0,
        read_only=True,
    ),
    Parameter(
        'window_s',
        2.0,
        'Duration of the observations in a context, seconds.',
        minimum=0.2,
        maximum=30.0,
        read_only=True,
    ),
    REQUIRE_SIGNATURES,
    KEYS,
    KEY,
)


def attention_config(values: Mapping[str, Any]) -> AttentionConfig:
    """Return the settings of attention among the parameters of its node.

    Raises:
        ValueError: the settings are not valid in combination.
    """
    return AttentionConfig(**{field.name: values[field.name] for field in fields(AttentionConfig)})
