# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Make the golden bags: small recordings of a synthetic world, for the tests of replay.

Each bag is a function of its seed, so that it need not be stored. Camera images are 320x240 JPEG
at 10 Hz, as `compressed_image_transport` publishes them.

    python tools/make_golden_bags.py out/bags          # all bags
    python tools/make_golden_bags.py out/bags dual     # one of them
    python tools/make_golden_bags.py --baselines       # write their baselines in test/data again
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rclpy.serialization import deserialize_message, serialize_message
from sage_msgs.msg import CropArray, LCTArray
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.bags.definitions import installed_definition
from sage_perception.bags.writer import BagWriter
from sage_perception.core.lct import LCT
from sage_perception.pipeline.camera import CameraPipeline
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.regression.baseline import read_baseline
from sage_perception.regression.compare import compare, worst
from sage_perception.regression.regress import Regression, update_baseline
from sage_perception.regression.replay import replay_bag
from sage_perception.ros import qos
from sage_perception.ros.conversions.announcements import model_info_to_msg, probe_set_to_msg
from sage_perception.ros.conversions.crops import crop_to_msg
from sage_perception.ros.conversions.lct_arrays import lct_array_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import jpeg_to_msg
from sage_perception.trust.compatibility.probe_set import probe_latents
from sage_perception.trust.security.announcements import ProbeSet
from sage_perception.trust.security.canonical import PLAIN
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import create_folder, public_bytes
from sage_perception.trust.security.trust_store import TrustStore
from sage_perception.vision.synthetic import SyntheticWorld

ROOT = Path(__file__).resolve().parents[1]
BASELINES = ROOT / 'test' / 'data' / 'bags' / 'golden'
SECOND = 10**9
START_NS = 1_700_000_000 * SECOND
RATE_HZ = 10
WIDTH, HEIGHT = 320, 240
SHIFT_PX = 60
"""Horizontal distance between the views of the two cameras."""
JPEG_QUALITY = 80
JUMP_S = 30.0
"""Time by which the clock jumps back in the bag `clock_jump`."""


@dataclass(frozen=True)
class Shot:
    """An image of a camera, at `t` seconds of the recording; `stamp_s` is that of its header."""

    camera: str
    t: float
    stamp_s: float
    image: np.ndarray


def world(seed: int, objects: int = 3) -> SyntheticWorld:
    """Return the world of the golden bags: slow objects on a textured background."""
    width = WIDTH + SHIFT_PX
    return SyntheticWorld(seed, width, HEIGHT, objects, period_s=16.0, noise=1.5)


def views(seed: int, seconds: float, cameras: Iterable[str], objects: int = 3) -> Iterator[Shot]:
    """Yield the images of two cameras side by side; the second one has another exposure."""
    scene = world(seed, objects)
    for index in range(round(seconds * RATE_HZ)):
        t = index / RATE_HZ
        image = scene.render(t, index)
        for number, camera in enumerate(cameras):
            view = image[:, number * SHIFT_PX :][:, :WIDTH]
            if number:
                view = cv2.convertScaleAbs(cv2.GaussianBlur(view, (0, 0), 1.2), None, 0.75, 20)
            yield Shot(camera, t, t, np.ascontiguousarray(view))


# Bags of images


def single(folder: Path) -> None:
    """Record one camera."""
    write_images(folder, views(1, 6, ['cam0']))


def dual(folder: Path) -> None:
    """Record two cameras with overlapping views."""
    write_images(folder, views(2, 6, ['cam0', 'cam1']))


def faults(folder: Path) -> None:
    """Record a camera that is covered from 2 s, frozen from 4 s, saturated from 6 s, 1 s each."""
    held: dict[str, np.ndarray] = {}

    def shots() -> Iterator[Shot]:
        for shot in views(3, 8, ['cam0']):
            image = shot.image
            if 2 <= shot.t < 3:
                image = np.full_like(image, 3)
            elif 4 <= shot.t < 5:
                image = held.setdefault('frozen', image)
            elif 6 <= shot.t < 7:
                image = cv2.convertScaleAbs(image, None, 1.0, 230)
            yield replace(shot, image=image)

    write_images(folder, shots())


def clock_jump(folder: Path) -> None:
    """Record two cameras whose clock jumps back by `JUMP_S` seconds after 3 s."""
    write_images(
        folder,
        (
            replace(shot, stamp_s=shot.t - (JUMP_S if shot.t >= 3 else 0))
            for shot in views(4, 6, ['cam0', 'cam1'])
        ),
    )


def moving_camera(folder: Path) -> None:
    """Record a camera that pans over the world and back."""
    scene = world(5)

    def shots() -> Iterator[Shot]:
        for index in range(6 * RATE_HZ):
            t = index / RATE_HZ
            left = SHIFT_PX / 2 * (1 - np.cos(np.pi * t / 5))
            shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, 0.0]])
            image = scene.render(t, index)
            yield Shot('cam0', t, t, cv2.warpAffine(image, shift, (WIDTH, HEIGHT)))

    write_images(folder, shots())


def write_images(folder: Path, shots: Iterable[Shot]) -> None:
    """Write the images of cameras to a bag."""
    with BagWriter(folder) as bag:
        for shot in shots:
            topic = f'/{shot.camera}/image_raw/compressed'
            if topic not in bag.topics:
                bag.add_topic(topic, 'sensor_msgs/msg/CompressedImage', [qos.CAMERA])
            header = Header(stamp=stamp_of(shot.stamp_s), frame_id=f'{shot.camera}_optical_frame')
            message = jpeg_to_msg(shot.image, header, JPEG_QUALITY)
            bag.write(topic, serialized(message), START_NS + round(shot.t * SECOND))


# Bags of LCTs


class Encoder:
    """The nodes of one camera up to its LCTs."""

    def __init__(
        self,
        camera: str,
        model: str = 'tinyvae',
        key: Ed25519PrivateKey | None = None,
        start: int = 1,
    ) -> None:
        self.camera, self.key = camera, key
        self.codec = models.load_crop_codec(model)
        identity = Identity(camera, start=start)
        self.pipeline = CameraPipeline(CropEncoder(self.codec), identity)

    def announcements(self, t: float) -> list[tuple[str, str, Any]]:
        """Return the model and the probe latents as rows (topic, type, message)."""
        identity, stamp = self.pipeline.identity, stamp_of(t)
        info = model_info_to_msg(
            self.codec, stamp, self.camera, identity.next_sequence(), self.key
        )
        info.card = ''
        probes = ProbeSet(
            self.camera, identity.next_sequence(), self.codec.id, probe_latents(self.codec)
        )
        return [
            (f'/{self.camera}/model_info', 'sage_msgs/msg/ModelInfo', info),
            (
                f'/{self.camera}/probe_latents',
                'sage_msgs/msg/ProbeSet',
                probe_set_to_msg(probes, stamp, self.key),
            ),
        ]

    def lcts(self, shot: Shot) -> list[LCT]:
        """Return the LCTs of an image."""
        frame = self.pipeline.process(shot.image, START_NS + round(shot.stamp_s * SECOND))
        return frame.lcts

    def array(self, shot: Shot, lcts: Iterable[LCT]) -> LCTArray:
        """Return LCTs as a message, signed if the camera has a key."""
        header = Header(stamp=stamp_of(shot.stamp_s), frame_id=f'{self.camera}_optical_frame')
        packed = [(without_times(lct), PLAIN) for lct in lcts]
        return lct_array_to_msg(header, (WIDTH, HEIGHT), self.camera, packed, self.key)


Row = tuple[float, str, str, Any]


def foreign(folder: Path) -> None:
    """Record the LCTs of two cameras, the second one with another model and its probe latents."""
    encoders = {'cam0': Encoder('cam0'), 'cam1': Encoder('cam1', 'tinyvae_128')}
    write_rows(folder, rows_of(encoders, views(6, 5, encoders)))


def signed(folder: Path) -> None:
    """Record two cameras that sign, and from 2 s on an attacker on the topic of the first one.

    The attacker repeats LCTs of the camera, raises the trust of a signed one, and sends unsigned
    ones. The public keys are in `BAG_keys` beside the bag.
    """
    keys = {camera: key_of(camera) for camera in ('cam0', 'cam1')}
    write_keys(keys_folder(folder), keys)
    encoders = {camera: Encoder(camera, key=key) for camera, key in keys.items()}

    def rows() -> Iterator[Row]:
        recorded: list[LCTArray] = []
        for t, topic, kind, message in rows_of(encoders, views(7, 5, encoders)):
            yield t, topic, kind, message
            if topic != '/cam0/lcts' or not message.crops:
                continue
            recorded.append(message)
            if t < 2:
                continue
            tampered = deserialized(message)
            del tampered.crops[1:], tampered.telemetry[1:]
            tampered.crops[0].trust = 1.0
            tampered.sequence += 1000
            unsigned = deserialized(tampered)
            unsigned.signature = []
            unsigned.sequence += 2000
            for number, forged in enumerate((recorded[-5], tampered, unsigned), 1):
                yield t + 0.01 * number, topic, kind, forged

    write_rows(folder, rows())


def released(folder: Path) -> None:
    """Record the crops and LCTs of two cameras that sign, with the message types of this release.

    `test/data/bags/sage_msgs_VERSION` is such a bag of each release; it is never made again.
    """
    keys = {camera: key_of(camera) for camera in ('cam0', 'cam1')}
    write_keys(keys_folder(folder), keys)
    encoders = {camera: Encoder(camera, key=key) for camera, key in keys.items()}

    def rows() -> Iterator[Row]:
        for kept in encoders['cam0'].announcements(0.0):
            yield 0.0, *kept
        for number, shot in enumerate(views(9, 1.6, encoders)):
            encoder = encoders[shot.camera]
            frame = encoder.pipeline.process(shot.image, START_NS + round(shot.t * SECOND))
            array = encoder.array(shot, frame.lcts)
            if number % 5 == 0 and frame.crops:
                crops = CropArray(header=array.header, fault=int(frame.fault))
                crops.source_width, crops.source_height = frame.size
                crops.crops = [crop_to_msg(crop, array.header) for crop in frame.crops]
                yield shot.t + 0.01, f'/{shot.camera}/crops', 'sage_msgs/msg/CropArray', crops
            yield shot.t + 0.02, f'/{shot.camera}/lcts', 'sage_msgs/msg/LCTArray', array

    write_rows(folder, rows())


def restart(folder: Path) -> None:
    """Record an encoder that restarts after 2.5 s: track ids begin with 1 again."""
    before, after = Encoder('cam0'), Encoder('cam0', start=10**6)

    def rows() -> Iterator[Row]:
        shots = list(views(8, 5, ['cam0']))
        yield from rows_of({'cam0': before}, [shot for shot in shots if shot.t < 2.5])
        # The node is away for half a second.
        yield from rows_of({'cam0': after}, [shot for shot in shots if shot.t >= 3])

    write_rows(folder, rows())


def rows_of(encoders: dict[str, Encoder], shots: Iterable[Shot]) -> Iterator[Row]:
    """Yield the announcements of cameras, and the LCTs of their images."""
    announced = False
    for shot in shots:
        if not announced:
            announced = True
            for encoder in encoders.values():
                for topic, kind, message in encoder.announcements(shot.stamp_s):
                    yield shot.t, topic, kind, message
        encoder = encoders[shot.camera]
        array = encoder.array(shot, encoder.lcts(shot))
        # The path from the sensor to the recorder takes 20 ms.
        yield shot.t + 0.02, f'/{shot.camera}/lcts', 'sage_msgs/msg/LCTArray', array


def write_rows(folder: Path, rows: Iterable[Row]) -> None:
    """Write messages to a bag."""
    profiles = {'lcts': qos.DEFAULT, 'crops': qos.CROPS}
    with BagWriter(folder, 'zstd') as bag:
        for t, topic, kind, message in rows:
            if topic not in bag.topics:
                profile = profiles.get(topic.rpartition('/')[2], qos.LATCHED)
                bag.add_topic(topic, kind, [profile])
            bag.write(topic, serialized(message), START_NS + round(t * SECOND))


def without_times(lct: LCT) -> LCT:
    """Return an LCT without variance and without the time of its encoding, which varies."""
    telemetry = replace(lct.latent.telemetry, time_s=0.0)
    return replace(lct, latent=replace(lct.latent, telemetry=telemetry, log_var=None))


def serialized(message: Any) -> bytes:
    """Return a serialized message with zeros as padding: the middleware leaves it undefined."""
    name = f'{type(message).__module__.partition(".")[0]}/msg/{type(message).__name__}'
    store = installed_definition(name).store
    return bytes(
        store.serialize_cdr(store.deserialize_cdr(serialize_message(message), name), name)
    )


def deserialized(message: Any) -> Any:
    """Return a deep copy of a message."""
    return deserialize_message(serialize_message(message), type(message))


def key_of(entity: str) -> Ed25519PrivateKey:
    """Return a key that is a function of the entity: it protects nothing."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(entity.encode()).digest())


def keys_folder(bag: Path) -> Path:
    """Return the folder of the public keys of a bag."""
    return bag.with_name(f'{bag.name}_keys')


def write_keys(folder: Path, keys: dict[str, Ed25519PrivateKey]) -> None:
    """Write the public keys of entities, as `sage keys trust` does."""
    create_folder(folder)
    store = TrustStore(folder)
    for entity, key in keys.items():
        store.trust(entity, public_bytes(key))


def stamp_of(t: float) -> Time:
    """Return the stamp at `t` seconds of the recording."""
    return stamp_to_msg(START_NS + round(t * SECOND))


BAGS: dict[str, Callable[[Path], None]] = {
    make.__name__: make
    for make in (single, dual, faults, foreign, signed, restart, clock_jump, moving_camera)
}


def parameters_of(bag: Path) -> dict[str, dict[str, Any]]:
    """Return the parameters with which a golden bag is replayed, by kind of node."""
    parameters: dict[str, dict[str, Any]] = {'encoder': {'encoding': 'float32'}}
    keys = keys_folder(bag)
    if keys.exists():
        parameters['arbiter'] = {'keys': str(keys), 'require_signatures': True}
    return parameters


def write_baselines() -> None:
    """Write the baselines of all golden bags, and print what changes."""
    BASELINES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, make in BAGS.items():
            bag = Path(folder, name)
            make(bag)
            found = Regression(bag, replay_bag(bag, overrides=parameters_of(bag)))
            path = BASELINES / f'{name}.baseline.json'
            # The folder of the keys is not the same on every machine.
            found.result.summary.settings.clear()
            if path.exists():
                found.baseline = read_baseline(path)
                before = found.baseline.summary
                found.differences = compare(found.result.summary, before)
            print(f'{name}: {len(found.differences)} differences')
            for each in worst(found.differences):
                print(f'  {each}')
            update_baseline(found, path)


def main() -> int:
    """Make the bags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, nargs='?', help='folder to write the bags to')
    parser.add_argument('names', nargs='*', metavar='NAME', help=', '.join(BAGS))
    parser.add_argument('--baselines', action='store_true', help=f'write {BASELINES} again')
    args = parser.parse_args()
    if args.baselines:
        write_baselines()
        return 0
    if args.folder is None:
        parser.error('give a folder')
    if unknown := [name for name in args.names if name not in BAGS]:
        parser.error(f'{unknown[0]} is not one of {", ".join(BAGS)}')
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.names or BAGS:
        BAGS[name](args.folder / name)
        size = sum(file.stat().st_size for file in (args.folder / name).iterdir())
        print(f'{args.folder / name}: {size / 1e6:.2f} MB')
    return 0


if __name__ == '__main__':
    sys.exit(main())
