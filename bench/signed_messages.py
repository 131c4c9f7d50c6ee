# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Forged crops and agreements against the verification of their receivers, and its cost.

Part of `bench/security.py`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sage_msgs.msg import (
    Agreement,
    AgreementArray,
    Crop,
    CropArray,
    HContext,
    ImageSignature,
    SnarcArray,
    SnarcScore,
    TrustReport,
)
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.conversions.trust import agreements_from_msg
from sage_perception.ros.images import image_to_msg
from sage_perception.ros.message_form import MessageVerifier, message_digest, sign_message
from sage_perception.trust import TrustStore
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import public_bytes

NOW = 1_800_000_000 * 10**9
KEY, FORGED = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
HEADER = Header(stamp=stamp_to_msg(NOW), frame_id='cam0_optical_frame')


def crops(seed: int) -> CropArray:
    """Return five crops of 64 pixels."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(5):
        pixels = rng.integers(0, 255, (64, 64, 3), np.uint8).tobytes()
        image = Image(header=HEADER, height=64, width=64, step=192, encoding='rgb8', data=pixels)
        roi = RegionOfInterest(x_offset=n, y_offset=n, width=64, height=64)
        found.append(Crop(roi=roi, score=0.5, track_id=n + 1, image=image))
    return CropArray(header=HEADER, source_width=640, source_height=480, crops=found)


MESSAGES: dict[str, Callable[[], Any]] = {
    'crops': lambda: crops(0),
    'agreement': lambda: AgreementArray(header=HEADER, agreements=[Agreement()] * 5),
    'snarc': lambda: SnarcArray(header=HEADER, scores=[SnarcScore()] * 5),
    'trust_report': lambda: TrustReport(header=HEADER),
    'h_context': lambda: HContext(header=HEADER),
    'image_signature': lambda: ImageSignature(header=HEADER),
}


def oracle(count: int = 120) -> dict:
    """Return how many forged crops an encoder would sign, and the cost of each signed message.

    A third of the forged crops is unsigned, a third is signed with another key, and a third has
    the signature of other crops.
    """
    store = TrustStore()
    store.trust('cam0', public_bytes(KEY))
    verifier = MessageVerifier(store, True, ['cam0'])
    own, other = Identity('cam0', KEY), Identity('cam0', FORGED)
    signed = 0
    for n in range(count):
        message = crops(n)
        if n % 3 == 1:
            sign_message(message, other)
        elif n % 3 == 2:
            message.signature = sign_message(crops(n + 1), own).signature
        signed += verifier.find_fault(message, NOW) is None
    used = 0
    for similarity in (1e30, -2.0, float('nan'), float('inf')):
        try:
            agreements_from_msg(AgreementArray(agreements=[Agreement(similarity=similarity)]))
            used += 1
        except ValueError:
            pass
    return {
        'forged_crops': count,
        'forged_crops_signed': signed,
        'honest_crops_accepted': verifier.find_fault(sign_message(crops(0), own), NOW) is None,
        'agreements_out_of_range': 4,
        'agreements_out_of_range_used': used,
        'sign_ms': {name: cost_ms(make(), own, None) for name, make in MESSAGES.items()},
        'verify_ms': {name: cost_ms(make(), own, store) for name, make in MESSAGES.items()},
        'image_digest_ms': digest_ms(640, 480),
    }


def digest_ms(width: int, height: int, runs: int = 30) -> float:
    """Return the CPU time of the digest of an image, milliseconds.

    The camera and attention compute it once for each image, besides the signature.
    """
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    image = image_to_msg(pixels, 'bgr8', HEADER)
    start_s = time.process_time()
    for _ in range(runs):
        message_digest(image)
    return round(1e3 * (time.process_time() - start_s) / runs, 3)


def cost_ms(message: Any, identity: Identity, store: TrustStore | None, runs: int = 50) -> float:
    """Return the CPU time to sign a message, or with a `store` to verify it, milliseconds."""
    messages = [copy.deepcopy(message) for _ in range(runs)]
    if store is not None:
        for each in messages:
            sign_message(each, identity)
    verifier = None if store is None else MessageVerifier(store, True)
    start_s = time.process_time()
    for each in messages:
        if verifier is None:
            sign_message(each, identity)
        elif verifier.find_fault(each, NOW) is not None:
            raise RuntimeError(f'{type(message).__name__} is rejected')
    return round(1e3 * (time.process_time() - start_s) / runs, 3)
