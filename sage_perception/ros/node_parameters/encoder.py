# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the encoder node."""

from __future__ import annotations

from dataclasses import replace

from sage_perception.codecs.embedded import HEADER_BYTES
from sage_perception.codecs.packing import Encoding
from sage_perception.pipeline import code_models
from sage_perception.pipeline.error_sampler import MEASURE_EVERY
from sage_perception.ros.common_parameters import (
    AUTOSTART,
    ENTITY_ID,
    MAX_AGE,
    threads,
)
from sage_perception.ros.identity import KEY, KEYS, OPERATORS, REQUIRE_SIGNATURES
from sage_perception.ros.parameters import Parameter
from sage_perception.ros.wire_encoding import AUTO


def _check_kinds(names: str) -> None:
    code_models.kinds_of(names)


def _check_latent_bytes(size: int) -> None:
    if 0 < size < HEADER_BYTES:
        raise ValueError(f'{size} bytes have no latent: give {HEADER_BYTES} or more')


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
        AUTO,
        'Encoding of transmitted latents. Bytes of a 64-D latent: float32 256, and 256 for '
        'the variance, which the other encodings omit; float16 128; int8 64; entropy_int8 '
        'about 40; vq the tokens of the codebook in the folder of the model; embedded as '
        'entropy_int8, but at most latent_bytes. auto: entropy_int8 '
        'while lcts has a subscriber on another host, int8 otherwise, and with other middlewares '
        'than Fast DDS.',
        choices=(AUTO, *(encoding.name.lower() for encoding in Encoding)),
        read_only=True,
    ),
    Parameter(
        'latent_bytes',
        0,
        'Longest latent in the encoding embedded, bytes: longer ones are cut, and coarser then. '
        '0: not cut.',
        minimum=0,
        maximum=4096,
        read_only=True,
        rule=_check_latent_bytes,
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
    Parameter(
        'codes',
        code_models.AUTO,
        'Codes that are sent with latents when they are new: identity, semantic, or both with a '
        'comma between them; 64 bytes each. auto: identity where ONNX Runtime is installed, which '
        'their small model needs. A code is computed once for each track, and again when its '
        'latent has changed enough or semantic_period_s has passed. Latents do not wait for it: '
        'it travels with the next one of its track. Empty: none.',
        read_only=True,
        rule=_check_kinds,
    ),
    Parameter(
        'code_model',
        '',
        'Model of the codes: the name of a model that ships with sage, or folder of an artifact. '
        'Empty: semantic_small for identity codes, semantic_text if there are semantic ones, '
        'which needs the packages of requirements/semantic.txt.',
        read_only=True,
    ),
    Parameter(
        'semantic_period_s',
        5.0,
        'Time after which the codes of a track are computed again, seconds.',
        minimum=0.1,
        maximum=3600.0,
        read_only=True,
    ),
    Parameter(
        'code_budget_ms',
        5.0,
        'Time for codes per frame, milliseconds, by the nominal cost of the model; tracks beyond '
        'it wait for the next frames. The rest of a frame is kept while tracks wait.',
        minimum=0.1,
        maximum=1000.0,
        read_only=True,
    ),
    Parameter(
        'reentry_s',
        0.0,
        'Longest time for which a track may be lost and keep its id, seconds: a new track takes '
        'the id of a lost one nearby that looks like the same thing, by the fitted agreement of '
        'the model. The messages crops and regions of attention keep their own ids. 0: never.',
        minimum=0.0,
        maximum=60.0,
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
    OPERATORS,
    KEYS,
    Parameter(
        'measure_every',
        MEASURE_EVERY,
        'Frames after which the latent of a track is decoded again to measure its reconstruction '
        'error, which happens earlier if the latent changes; the last error is used in between. '
        '1: every latent.',
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
