# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras that sign, an arbiter that requires signatures, and a third party."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rclpy.serialization import deserialize_message, serialize_message
from sage_msgs.msg import Crop, CropArray, LCTArray, ModelInfo, ProbeSet
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from sage_perception.bringup.graph import dual_camera
from sage_perception.cli import keys as keys_command
from sage_perception.core.lct import Operation
from sage_perception.ros import qos
from sage_perception.ros.conversions.announcements import (
    model_info_from_msg,
    probe_set_from_msg,
    probe_set_to_msg,
)
from sage_perception.ros.conversions.lcts import lct_from_msg, lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import image_to_msg
from sage_perception.trust import TrustStore, verify
from sage_perception.trust.security.announcements import sign_announcement
from sage_perception.trust.security.keys import load_key, public_bytes
from sage_perception.vision.synthetic import SyntheticWorld

CAMERAS = ('cam0', 'cam1')
ARBITER = 'arbiter: agreement'


class Scene:
    """Shows both cameras the same object, and publishes on their topics as a third party."""

    def __init__(self, graph):
        self.graph = graph
        self.node = graph.ros.node
        self._crops = {c: self.node.create_publisher(CropArray, f'{c}/crops', 10) for c in CAMERAS}
        self._lcts = {c: self.node.create_publisher(LCTArray, f'{c}/lcts', 10) for c in CAMERAS}
        self._lcts_of = {c: graph.collect(LCTArray, f'{c}/lcts') for c in CAMERAS}
        self._trusted = graph.collect(LCTArray, 'trusted')
        self._fused = graph.collect(LCTArray, 'fused')
        rendered = SyntheticWorld(seed=1, width=128, height=128, objects=1).render(0.0)
        self._image = np.ascontiguousarray(rendered[32:96, 32:96, ::-1])
        self._shown = None
        graph.health()
        # The encoder's publisher and this one.
        for publisher in self._lcts.values():
            graph.wait_for(lambda p=publisher: p.get_subscription_count() == 2, 'the arbiter')

    def header(self, frame_id):
        return Header(stamp=self.node.get_clock().now().to_msg(), frame_id=frame_id)

    def of(self, messages, header, what):
        return self.graph.wait_for(
            lambda: next((m for m in list(messages) if m.header == header), None), what
        )

    def show(self):
        """Publish the same crop for both cameras; return its header."""
        header = self.header('lens')
        image = image_to_msg(self._image, 'rgb8', header)
        crop = Crop(image=image, roi=RegionOfInterest(width=64, height=64), track_id=1)
        for publisher in self._crops.values():
            publisher.publish(CropArray(header=header, crops=[crop]))
        return header

    def see(self):
        """Publish the same crop for both cameras; return the fused array."""
        return self.of(self._fused, self.show(), 'fused')

    def in_touch(self):
        """Publish crops a few times a second; return whether both cameras were fused."""
        if self.header('').stamp.nanosec // 200_000_000 != self._shown:
            self._shown = self.show().stamp.nanosec // 200_000_000
        return self._trusted and any(map(is_of_both, list(self._fused)))

    def lct_of(self, camera, header):
        """Return the LCT of a camera for a header."""
        return self.of(self._lcts_of[camera], header, f'the LCT of {camera}').lcts[0]

    def publish(self, camera, lcts, header=None):
        """Publish LCTs on the topic of a camera."""
        header = header or self.header('elsewhere')
        self._lcts[camera].publish(LCTArray(header=header, lcts=lcts))

    def trusted(self, frame_id):
        """Return the forwarded LCTs with this frame id."""
        arrays = (array for array in list(self._trusted) if array.header.frame_id == frame_id)
        return [lct for array in arrays for lct in array.lcts]

    def status(self, part):
        """Wait for the next diagnostics of a part; return its message and figures."""
        count = len(self.graph.diagnostics)
        status = self.graph.wait_for(lambda: self.graph.health(count).get(part), part)
        return status.message, {pair.key: pair.value for pair in status.values}

    def judged(self, camera):
        """Return the number of verdicts on LCTs of a camera."""
        figures = self.status(ARBITER)[1]
        return int(figures[f'{camera} accepted']) + int(figures[f'{camera} rejected'])

    def wait_for_log(self, text):
        """Wait until the arbiter has logged this."""
        self.graph.wait_for(lambda: text in self.graph.written('arbiter'), text)

    def rejections(self):
        """Return the number of rejected LCTs by camera and reason."""
        figures = self.status(ARBITER)[1]
        return Counter({name: int(n) for name, n in figures.items() if ' rejected: ' in name})


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    assert keys_command.main(['create', *CAMERAS, 'arbiter', '--dir', str(folder)]) == 0
    return folder


@pytest.fixture(scope='module')
def scene(run_graph, keys):
    own = {
        'cam0/encoder': {'key': str(keys / 'cam0.key'), 'encoding': 'float32'},
        'cam1/encoder': {'key': str(keys), 'encoding': 'int8'},
        'arbiter': {'key': str(keys), 'keys': str(keys), 'require_signatures': True},
    }
    specs = [
        replace(spec, parameters={**spec.parameters, **own[spec.path]})
        for spec in dual_camera()
        if spec.path in own
    ]
    scene = Scene(run_graph(specs))
    scene.graph.wait_for(scene.in_touch, 'an array fused of both cameras')
    return scene


def is_of_both(fused):
    steps = [step.operation for lct in fused.lcts for step in lct.provenance]
    return steps == [Operation.ENCODE, Operation.FUSE, Operation.FUSE]


def test_signed_lcts_are_fused_and_the_result_is_signed(scene, keys):
    before = scene.rejections()
    fused = scene.see()
    assert is_of_both(fused)
    store = TrustStore(keys)
    lct = lct_from_msg(fused.lcts[0])
    assert lct.entity_id == 'arbiter'
    assert verify(lct, store) is None
    assert scene.rejections() == before
    for part, entity in ((ARBITER, 'arbiter'), ('cam0/encoder: model', 'cam0')):
        message, figures = scene.status(part)
        assert 'unsigned' not in message
        assert 'not required' not in message
        assert figures['public_key'] == str(store.keys_of(entity)[0])


def copy_of(lct, edit=lambda lct: None):
    copy = deserialize_message(serialize_message(lct), type(lct))
    edit(copy)
    return copy


def test_forged_lcts_are_rejected_and_counted_by_reason(scene, keys):
    moment = scene.see().header
    good, packed = (scene.lct_of(camera, moment) for camera in CAMERAS)

    def later(lct):
        lct.sequence += 1000
        lct.id[0] ^= 1

    def other_numbers(lct):
        later(lct)
        lct.latent.mean[0] += 0.5

    def other_bytes(lct):
        later(lct)
        lct.latent.payload[0] ^= 1

    def stripped(lct):
        later(lct)
        lct.signature = []

    def of_another_model(lct):
        later(lct)
        lct.latent.model.fingerprint = np.full(32, 9, np.uint8)

    unknown_key = Ed25519PrivateKey.generate()
    own = lct_from_msg(copy_of(good, later))
    of_unknown_entity = replace(
        own,
        entity_id='mallory; reboot',
        provenance=(replace(own.provenance[0], entity_id='mallory; reboot'),),
    )
    another_step = (replace(own.provenance[0], entity_id='cam1'),)
    before = scene.rejections()
    scene.publish(
        'cam0',
        [
            good,
            copy_of(good, other_numbers),
            copy_of(good, later),
            copy_of(good, stripped),
            copy_of(good, of_another_model),
            lct_to_msg(of_unknown_entity, key=unknown_key),
            lct_to_msg(own, key=unknown_key),
            lct_to_msg(replace(own, provenance=another_step), key=load_key(keys, 'cam0')),
        ],
    )
    # The topic of the other camera rejects them too.
    scene.publish('cam1', [good, packed, copy_of(packed, other_bytes)])
    # The id of an LCT of an array belongs to its sequence.
    replayed, malformed, bad, foreign = (
        'replayed or outdated sequence',
        'malformed message',
        'invalid signature',
        'wrong entity for this topic',
    )
    refused = scene.graph.wait_for(
        lambda: (more := scene.rejections() - before).total() == 11 and more, 'their rejection'
    )
    assert refused == {
        f'cam0 rejected: {replayed}': 1,
        f'cam0 rejected: {malformed}': 2,
        f'cam0 rejected: {bad}': 1,
        'cam0 rejected: missing signature': 1,
        'cam0 rejected: model fingerprint mismatch': 1,
        f'cam0 rejected: {foreign}': 1,
        'cam0 rejected: invalid provenance': 1,
        f'cam1 rejected: {replayed}': 1,
        f'cam1 rejected: {foreign}': 1,
        f'cam1 rejected: {malformed}': 1,
    }
    for camera in CAMERAS:
        scene.wait_for_log(f"rejected an LCT on /{camera}/lcts: {replayed} (entity 'cam")
        scene.wait_for_log(f"rejected an LCT on /{camera}/lcts: {malformed} (entity 'cam")
    scene.wait_for_log(f"rejected an LCT on /cam0/lcts: {bad} (entity 'cam")
    scene.wait_for_log(f"{foreign} (entity 'mallory; reboot')")
    assert not scene.trusted('elsewhere')
    # Honest LCTs are still accepted.
    assert is_of_both(scene.see())


def test_forged_announcements_are_rejected(scene, keys):
    node = scene.node
    forger = Ed25519PrivateKey.generate()
    for name, kind in (('model_info', ModelInfo), ('probe_latents', ProbeSet)):
        latched = scene.graph.collect(kind, f'cam0/{name}', qos.LATCHED)
        (good,) = scene.graph.wait_for(
            lambda announcement=latched: list(announcement), f'the {name} of cam0'
        )
        assert len(good.signature) == 64
        unsigned = copy_of(good, lambda announcement: setattr(announcement, 'signature', []))
        if kind is ModelInfo:
            forged = copy_of(good)
            announcement = sign_announcement(model_info_from_msg(good), forger)
            forged.signature = list(announcement.signature)
        else:
            forged = probe_set_to_msg(probe_set_from_msg(good), good.header.stamp, forger)
        publisher = node.create_publisher(kind, f'cam0/{name}', qos.LATCHED)
        scene.graph.wait_for(lambda p=publisher: p.get_subscription_count() == 2, 'the arbiter')
        for number, bad in enumerate((unsigned, forged), 1):
            publisher.publish(bad)
            scene.graph.wait_for(
                lambda n=number, name=name: (
                    scene.status(f'arbiter: input cam0/{name}')[1]['rejected'] == str(n)
                ),
                'its rejection',
            )
        scene.graph.ros.destroy(publisher)
    assert is_of_both(scene.see())


def test_empty_unsigned_frame_is_ignored(scene):
    """Its stamp is not signed: far in the future, it would expire all other frames."""
    later = Header(stamp=stamp_to_msg(2**31 * 10**9 - 1), frame_id='lens')
    for camera in CAMERAS:
        scene.publish(camera, [], later)
    assert is_of_both(scene.see())
    assert later not in [array.header for array in [*scene._fused, *scene._trusted]]


def test_trusted_and_revoked_keys_take_effect_while_nodes_run(scene, keys):
    unknown_key = Ed25519PrivateKey.generate()
    TrustStore(keys).trust('cam0', public_bytes(unknown_key))

    def forwarded():
        own = lct_from_msg(scene.lct_of('cam0', scene.see().header))
        lct = replace(own, id=b'with new' * 2, sequence=own.sequence + 1)
        before = scene.judged('cam0')
        scene.publish('cam0', [lct_to_msg(lct, key=unknown_key)])
        scene.graph.wait_for(lambda: scene.judged('cam0') > before, 'the verdict')
        return scene.trusted('elsewhere')

    assert scene.graph.wait_for(forwarded, 'an LCT with the new key')[0].entity_id == 'cam0'
    # Its sequence is used up for the encoder, which continues with the next one.
    scene.lct_of('cam0', scene.show())

    assert keys_command.main(['revoke', 'cam1', '--dir', str(keys)]) == 0
    fused = scene.graph.wait_for(
        lambda: (fused := scene.see()) and not is_of_both(fused) and fused, 'the rejection of cam1'
    )
    assert verify(lct_from_msg(fused.lcts[0]), TrustStore(keys)) is None
    assert scene.rejections()['cam1 rejected: revoked key'] > 0
    scene.wait_for_log("rejected an LCT on /cam1/lcts: revoked key (entity 'cam1')")
    scene.wait_for_log('sage keys create cam1 --rotate')
