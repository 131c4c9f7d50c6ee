# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the bytes of LCTs as messages, the time to sign and verify them, and the loss of INT8.

`python bench/wire.py [--video FILE] [--images DIR] [--seconds S] [--mutations N] [--out FILE]`
writes `out/bench/wire.json`. The rates are those of two cameras at 30 Hz that see the video, with
signed, entropy-coded latents: all of them, and those that `send_on_change` and `max_bytes_per_s`
select. The loss of the latter is that of what a receiver holds for each crop of each frame, in
PSNR against the fresh latent; `curve` has it for several values of `send_on_change`. The key
`predicted` is for `send_on_change`: a latent that did not change is not sent, and the others are
complete, not residuals.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rclpy.serialization import deserialize_message, serialize_message
from result_file import add_out, show_result, write_result
from sage_msgs.msg import LCTArray
from std_msgs.msg import Header

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import Latent, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.models import Codec, available, load, load_crop_codec
from sage_perception.pipeline.sending import LatentSender, SendingPolicy
from sage_perception.ros.conversions.latents import pack
from sage_perception.ros.conversions.lct_arrays import (
    PackedLCT,
    lct_array_to_msg,
    received_lcts,
)
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.trust import TrustStore, verify
from sage_perception.trust.security.canonical import IN_ARRAY, Wire, latent_form
from sage_perception.trust.security.keys import public_bytes
from sage_perception.vision.attention import Attention

CAMERA, FRAME_ID = 'cam0', 'cam0_optical_frame'
RATE_HZ, CAMERAS, CROPS, SIDE = 30, 2, 5, 64
START_NS = 1_800_000_000 * 10**9
POLICY = SendingPolicy(min_change=0.2)
Frame = tuple[np.ndarray, list[Latent], list[float], int]
"""Inputs `[B, C, S, S]`, latents, saliences, and the stamp."""
LIMITED = SendingPolicy(min_change=0.1, max_bytes_per_s=8000)  # 16 kB/s with two cameras
CURVE = (0.1, 0.2, 0.3, 0.4, 0.6)
"""Values of `min_change` of the curve of rate against loss."""


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the PSNR of images `[B, C, S, S]` in [0, 1], dB, at most 100."""
    mse = np.square(a - b).mean((1, 2, 3))
    return 10 * np.log10(1 / np.maximum(mse, 1e-10))


class Sender:
    """Makes messages of LCTs as an encoder does."""

    def __init__(self, codec: Codec) -> None:
        self.codec, self.packer = codec, Packer.of(codec)
        self.key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        self.store = TrustStore()
        self.store.trust(CAMERA, public_bytes(self.key))
        self.sequence = START_NS

    def lcts(self, latents: list[Latent], wires: list[Wire], stamp_ns: int) -> list[PackedLCT]:
        """Return the LCTs of a frame."""
        self.sequence += 1
        lean = [
            replace(each, log_var=None, telemetry=Telemetry.trust_only(0.75)) for each in latents
        ]
        return [
            (
                LCT.encoded(
                    latent,
                    entity_id=CAMERA,
                    sequence=self.sequence,
                    stamp_ns=stamp_ns,
                    index=index,
                ),
                wire,
            )
            for index, (latent, wire) in enumerate(zip(lean, wires, strict=True))
        ]

    def message(
        self, latents: list[Latent], wires: list[Wire], stamp_ns: int, signed: bool = True
    ) -> LCTArray:
        """Return the message of a frame."""
        header = Header(stamp=stamp_to_msg(stamp_ns), frame_id=FRAME_ID)
        lcts = self.lcts(latents, wires, stamp_ns)
        key = self.key if signed else None
        return lct_array_to_msg(header, (640, 480), CAMERA, lcts, key)


def frames_of(video: Path, seconds: float, codec: Codec) -> Iterator[Frame]:
    """Yield inputs `[B, C, S, S]`, latents, saliences and stamp of the frames of a video."""
    attention = Attention()
    capture = cv2.VideoCapture(str(video))
    if not capture.isOpened():
        raise ValueError(f'{video} cannot be opened: run tools/fetch_footage.py, or set --video')
    number = 0
    while number < seconds * RATE_HZ:
        found, image = capture.read()
        if not found:
            break
        image = cv2.resize(image, (640, 480), interpolation=cv2.INTER_AREA)
        stamp_ns = START_NS + number * 10**9 // RATE_HZ
        crops = attention.attend(image, stamp_ns * 1e-9)
        number += 1
        size = codec.input_size
        images = [cv2.resize(c.image, (size, size), interpolation=cv2.INTER_AREA) for c in crops]
        if not images:
            yield np.empty((0, 3, size, size), np.float32), [], [], stamp_ns
            continue
        x = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255
        z = codec.encode(x)
        latents = [
            Latent(values, model=codec.id, roi=crop.roi, track_id=crop.track_id)
            for values, crop in zip(z, crops, strict=True)
        ]
        yield x, latents, [crop.score for crop in crops], stamp_ns


def stream(codec: Codec, video: Path, seconds: float) -> dict[str, Any]:
    """Return the figures of the stream of a video, for each policy."""
    frames = list(frames_of(video, seconds, codec))
    packer = Packer.of(codec)
    decoded: dict[tuple[int, int], np.ndarray] = {}
    fresh: list[float] = []
    for number, (x, latents, _, _) in enumerate(frames):
        if latents:
            fresh += psnr(codec.decode(np.stack([z.mean for z in latents])), x).tolist()
        for index, latent in enumerate(latents):
            payload = packer.pack(latent.mean, Encoding.ENTROPY_INT8)
            decoded[number, index] = packer.unpack(payload, Encoding.ENTROPY_INT8)
    policies = {'signed': SendingPolicy(), 'predicted': POLICY, 'limited': LIMITED}
    found = {name: sent(codec, frames, decoded, policy) for name, policy in policies.items()}
    crops = sum(len(latents) for _, latents, _, _ in frames)
    whole = float(np.mean(fresh))
    points = [
        (change, sent(codec, frames, decoded, SendingPolicy(min_change=change)))
        for change in CURVE
    ]
    return {
        'curve': [
            {
                'min_change': change,
                'kb_per_s': each['kb_per_s'],
                'kb_per_s_without_payloads': each['kb_per_s_without_payloads'],
                'loss_db': whole - each['psnr_db'],
            }
            for change, each in points
        ],
        'crops_per_frame': crops / len(frames),
        'kb_per_s': {name: each['kb_per_s'] for name, each in found.items()},
        'loss_db': {name: whole - each['psnr_db'] for name, each in found.items()},
        'crops_sent': {name: each['crops'] / max(crops, 1) for name, each in found.items()},
    }


def sent(
    codec: Codec,
    frames: list[Frame],
    decoded: dict[tuple[int, int], np.ndarray],
    policy: SendingPolicy,
) -> dict[str, float]:
    """Return the rate of two cameras, the number of sent crops, and the PSNR at receivers.

    `kb_per_s_without_payloads` is the rate if the latents had no bytes at all: no encoding of them
    can be below it.
    """
    maker, packer = Sender(codec), Packer.of(codec)
    sender = LatentSender(codec.latent_mean.ravel(), policy)
    held: dict[int, np.ndarray] = {}
    size = payloads = crops = 0
    quality: list[float] = []
    for number, (x, latents, saliences, stamp_ns) in enumerate(frames):
        wires = [pack(latent, Encoding.ENTROPY_INT8, packer) for latent in latents]
        sizes = [len(wire.payload) for wire in wires]
        chosen = sender.select(latents, sizes, saliences, stamp_ns)
        if chosen or not latents:
            some = [latents[n] for n in chosen], [wires[n] for n in chosen]
            size += len(serialize_message(maker.message(*some, stamp_ns)))
        payloads += sum(sizes[n] for n in chosen)
        crops += len(chosen)
        held |= {latents[n].track_id: decoded[number, n] for n in chosen}
        mean = codec.latent_mean.ravel()
        if latents:  # a track that was never sent is unknown to receivers: the mean image
            values = np.stack([held.get(latent.track_id, mean) for latent in latents])
            quality += psnr(codec.decode(values.astype(np.float32)), x).tolist()
    per_s = RATE_HZ * CAMERAS / len(frames) / 1000
    return {
        'kb_per_s': size * per_s,
        'kb_per_s_without_payloads': (size - payloads) * per_s,
        'crops': crops,
        'psnr_db': float(np.mean(quality)),
    }


def bytes_per_crop(maker: Sender, latents: list[Latent]) -> dict[str, float]:
    """Return the bytes of a message of five crops per crop, by encoding."""
    found = {}
    for name, encoding, signed in (
        ('entropy_signed', Encoding.ENTROPY_INT8, True),
        ('int8_signed', Encoding.INT8, True),
        ('float32_unsigned', Encoding.FLOAT32, False),
    ):
        sizes = []
        for start in range(0, len(latents) - CROPS + 1, CROPS):
            some = latents[start : start + CROPS]
            wires = [pack(latent, encoding, maker.packer) for latent in some]
            message = maker.message(some, wires, START_NS, signed)
            sizes.append(len(serialize_message(message)) / CROPS)
        found[name] = float(np.mean(sizes))
    return found


def times(maker: Sender, latents: list[Latent], repeats: int = 200) -> dict[str, float]:
    """Return the time to sign and serialize an array of five, and the LCTs verified per second.

    `sign_ms` is the time from the LCTs to the serialized message, `sign_cpu_ms` the CPU time of
    it, which the load of the machine changes less.
    """
    some = latents[:CROPS]
    wires = [pack(latent, Encoding.INT8, maker.packer) for latent in some]
    header = Header(stamp=stamp_to_msg(START_NS), frame_id=FRAME_ID)
    messages, sign_s, cpu_s, verify_s = [], [], [], []
    for _ in range(repeats):
        lcts = maker.lcts(some, wires, START_NS)
        start, cpu = time.perf_counter(), time.process_time()
        message = lct_array_to_msg(header, (640, 480), CAMERA, lcts, maker.key)
        data = serialize_message(message)
        cpu_s.append(time.process_time() - cpu)
        sign_s.append(time.perf_counter() - start)
        messages.append(data)
    for data in messages:
        message = deserialize_message(data, LCTArray)
        start = time.perf_counter()
        for received in received_lcts(message):
            lct, wire = received.read()
            if verify(lct, maker.store, wire=wire) is not None:
                raise AssertionError('an honest LCT was rejected')
        verify_s.append(time.perf_counter() - start)
    return {
        'sign_ms': float(np.median(sign_s)) * 1e3,
        'sign_cpu_ms': float(np.median(cpu_s)) * 1e3,
        'verify_per_s': CROPS / float(np.median(verify_s)),
    }


def mutate(maker: Sender, latents: list[Latent], count: int, seed: int = 1) -> dict[str, int]:
    """Return the numbers of LCTs with another meaning that were accepted after random changes."""
    rng = random.Random(seed)
    some = latents[:CROPS]
    wires = [pack(latent, Encoding.INT8, maker.packer) for latent in some]
    data = bytes(serialize_message(maker.message(some, wires, START_NS)))
    honest = meaning(maker, deserialize_message(data, LCTArray))
    accepted = unreadable = 0
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            place = rng.randrange(4, len(changed))
            changed[place] ^= 1 << rng.randrange(8)
        try:
            message = deserialize_message(bytes(changed), LCTArray)
        except Exception:  # noqa: BLE001 (the kind depends on the middleware)
            unreadable += 1
            continue
        accepted += bool(meaning(maker, message) - honest)
    return {'tried': count, 'accepted': accepted, 'unreadable': unreadable}


def quietly(work: Callable[[], dict[str, int]]) -> dict[str, int]:
    """Return the result of `work` without what the middleware prints about unreadable bytes."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        return work()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def meaning(maker: Sender, message: LCTArray) -> set[tuple[Any, ...]]:
    """Return the content of the LCTs of an array that verify."""
    found = set()
    for received in received_lcts(message):
        try:
            lct, wire = received.read()
        except ValueError:
            continue
        if verify(lct, maker.store, wire=wire) is None:
            found.add((lct.id, lct.stamp_ns, lct.trust, latent_form(lct.latent, wire, IN_ARRAY)))
    return found


def int8_loss(images: Path | None, video_crops: np.ndarray) -> dict[str, float]:
    """Return the loss of INT8 in dB for each set of crops and model of images."""
    sets = {'video': video_crops, 'uniform': uniform_crops()}
    if images is not None:
        sets['images'] = image_crops(images)
    found = {}
    for name in sorted(available()):
        model = load(name)
        if not isinstance(model, Codec) or model.input_channels != 3 or model.input_size != SIDE:
            continue
        packer = Packer.of(model)
        for kind, pixels in sets.items():
            x = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
            z = model.encode(x)
            arrived = [packer.unpack(packer.pack(v, Encoding.INT8), Encoding.INT8) for v in z]
            loss = psnr(model.decode(z), x) - psnr(model.decode(np.stack(arrived)), x)
            found[f'{name} {kind}'] = float(loss.mean())
    return found


def uniform_crops() -> np.ndarray:
    """Return almost uniform crops, as of a white sky, uint8 `[N, S, S, 3]`."""
    rng = np.random.default_rng(0)
    crops = []
    for level in (0, 3, 245, 250, 254, 255):
        for noise in range(3):
            pixels = level + noise * rng.standard_normal((SIDE, SIDE, 3))
            crops.append(pixels.clip(0, 255).astype(np.uint8))
    return np.stack(crops)


def image_crops(folder: Path, count: int = 200) -> np.ndarray:
    """Return square crops of the images of a folder, uint8 `[N, S, S, 3]`."""
    rng = np.random.default_rng(0)
    files = sorted(p for p in folder.rglob('*') if p.suffix.lower() in ('.jpg', '.png'))
    crops: list[np.ndarray] = []
    while files and len(crops) < count:
        image = cv2.imread(str(files[int(rng.integers(len(files)))]))
        if image is None or min(image.shape[:2]) < SIDE:
            continue
        side = int(rng.integers(SIDE, min(image.shape[:2]) + 1))
        y, x = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
        crop = image[y : y + side, x : x + side, ::-1]
        crops.append(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    if not crops:
        raise ValueError(f'{folder} has no .jpg or .png images: set --images')
    return np.stack(crops)


def main() -> int:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    footage = Path('out/data/footage/opencv-doc/opencv-doc-vtest.avi')
    parser.add_argument('--video', type=Path, default=footage)
    parser.add_argument('--images', type=Path, help='folder of images for the loss of INT8')
    parser.add_argument('--seconds', type=float, default=20.0, help='of the video (20)')
    parser.add_argument('--mutations', type=int, default=20_000)
    add_out(parser, 'wire')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    codec = load_crop_codec('tinyvae')
    try:
        found = list(frames_of(args.video, min(args.seconds, 4.0), codec))
        latents = [latent for _, each, _, _ in found for latent in each]
        inputs = np.concatenate([x for x, _, _, _ in found])[:200]
        crops = np.rint(inputs.transpose(0, 2, 3, 1) * 255).astype(np.uint8)
        maker = Sender(codec)
        result = {
            'bytes_per_crop': bytes_per_crop(maker, latents),
            **times(maker, latents),
            'mutations': quietly(lambda: mutate(maker, latents, args.mutations)),
            'int8_loss_db': int8_loss(args.images, crops),
            **stream(codec, args.video, args.seconds),
        }
    except ValueError as error:
        print(f'bench/wire.py: {error}', file=sys.stderr)
        return 2
    write_result(args.out, result)
    show_result(result)
    return 0


if __name__ == '__main__':
    sys.exit(main())
