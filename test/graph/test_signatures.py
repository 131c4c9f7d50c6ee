# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras that sign, an arbiter that believes only them, and whoever else is on the network."""

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
from sage_perception.cli import keys as keyring
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
    """Shows both cameras the same thing, and speaks on their topics as anybody could."""

    def __init__(self, graph):
        self.graph = graph
        self.node = graph.ros.node
        self._crops = {c: self.node.create_publisher(CropArray, f'{c}/crops', 10) for c in CAMERAS}
        self._lcts = {c: self.node.create_publisher(LCTArray, f'{c}/lcts', 10) for c in CAMERAS}
        self._heard = {c: graph.collect(LCTArray, f'{c}/lcts') for c in CAMERAS}
        self._trusted = graph.collect(LCTArray, 'trusted')
        self._fused = graph.collect(LCTArray, 'fused')
        picture = SyntheticWorld(seed=1, width=128, height=128, objects=1).render(0.0)
        self._image = np.ascontiguousarray(picture[32:96, 32:96, ::-1])
        self._shown = None
        graph.health()
        # The cameras' own and ours.
        for publisher in self._lcts.values():
            graph.wait_for(lambda p=publisher: p.get_subscription_count() == 2, 'the arbiter')

    def header(self, frame_id):
        return Header(stamp=self.node.get_clock().now().to_msg(), frame_id=frame_id)

    def of(self, messages, header, what):
        return self.graph.wait_for(
            lambda: next((m for m in list(messages) if m.header == header), None), what
        )

    def show(self):
        """Let both cameras see the same; return the header of it."""
        header = self.header('lens')
        image = image_to_msg(self._image, 'rgb8', header)
        crop = Crop(image=image, roi=RegionOfInterest(width=64, height=64), track_id=1)
        for publisher in self._crops.values():
            publisher.publish(CropArray(header=header, crops=[crop]))
        return header

    def see(self):
        """Let both cameras see the same; return what is fused of it."""
        return self.of(self._fused, self.show(), 'fused')

    def in_touch(self):
        """Show something a few times a second; return whether all have heard of all."""
        if self.header('').stamp.nanosec // 200_000_000 != self._shown:
            self._shown = self.show().stamp.nanosec // 200_000_000
        return self._trusted and any(map(is_of_both, list(self._fused)))

    def heard(self, camera, header):
        """Return what a camera said of a moment."""
        return self.of(self._heard[camera], header, f'what {camera} says').lcts[0]

    def say(self, camera, lcts, header=None):
        """Say LCTs in the place of a camera."""
        header = header or self.header('elsewhere')
        self._lcts[camera].publish(LCTArray(header=header, lcts=lcts))

    def trusted(self, frame_id):
        """Return what is handed on of frames called so."""
        arrays = (array for array in list(self._trusted) if array.header.frame_id == frame_id)
        return [lct for array in arrays for lct in array.lcts]

    def status(self, part):
        """Wait for the next diagnostics of a part; return its message and figures."""
        count = len(self.graph.diagnostics)
        status = self.graph.wait_for(lambda: self.graph.health(count).get(part), part)
        return status.message, {pair.key: pair.value for pair in status.values}

    def judged(self, camera):
        """Return of how many LCTs of a camera the arbiter knows what to believe."""
        figures = self.status(ARBITER)[1]
        return int(figures[f'{camera} accepted']) + int(figures[f'{camera} rejected'])

    def reads(self, text):
        """Wait until the arbiter has written this."""
        self.graph.wait_for(lambda: text in self.graph.written('arbiter'), text)

    def refusals(self):
        """Return how many were refused, by camera and reason."""
        figures = self.status(ARBITER)[1]
        return Counter({name: int(n) for name, n in figures.items() if ' rejected: ' in name})


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    assert keyring.main(['create', *CAMERAS, 'arbiter', '--dir', str(folder)]) == 0
    return folder


@pytest.fixture(scope='module')
def scene(run_graph, keys):
    own = {
        'cam0/encoder': {'key': str(keys / 'cam0.key')},
        'cam1/encoder': {'key': str(keys), 'encoding': 'int8'},
        'arbiter': {'key': str(keys), 'keys': str(keys), 'require_signatures': True},
    }
    specs = [
        replace(spec, parameters={**spec.parameters, **own[spec.path]})
        for spec in dual_camera()
        if spec.path in own
    ]
    scene = Scene(run_graph(specs))
    scene.graph.wait_for(scene.in_touch, 'the arbiter hears both cameras and knows their models')
    return scene


def is_of_both(fused):
    steps = [step.operation for lct in fused.lcts for step in lct.provenance]
    return steps == [Operation.ENCODE, Operation.FUSE, Operation.FUSE]


def test_signed_latents_are_fused_and_what_is_fused_is_signed(scene, keys):
    before = scene.refusals()
    fused = scene.see()
    assert is_of_both(fused)
    store = TrustStore(keys)
    lct = lct_from_msg(fused.lcts[0])
    assert lct.entity_id == 'arbiter'
    assert verify(lct, store) is None
    assert scene.refusals() == before
    for part, entity in ((ARBITER, 'arbiter'), ('cam0/encoder: model', 'cam0')):
        message, figures = scene.status(part)
        assert 'unsigned' not in message
        assert 'not required' not in message
        assert figures['public_key'] == str(store.keys_of(entity)[0])


def copy_of(lct, edit=lambda lct: None):
    copy = deserialize_message(serialize_message(lct), type(lct))
    edit(copy)
    return copy


def test_what_is_forged_is_refused_and_counted_by_name(scene, keys):
    moment = scene.see().header
    good, packed = (scene.heard(camera, moment) for camera in CAMERAS)

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

    stranger = Ed25519PrivateKey.generate()
    own = lct_from_msg(copy_of(good, later))
    as_stranger = replace(
        own,
        entity_id='mallory; reboot',
        provenance=(replace(own.provenance[0], entity_id='mallory; reboot'),),
    )
    another_step = (replace(own.provenance[0], entity_id='cam1'),)
    before = scene.refusals()
    scene.say(
        'cam0',
        [
            good,
            copy_of(good, other_numbers),
            copy_of(good, later),
            copy_of(good, stripped),
            copy_of(good, of_another_model),
            lct_to_msg(as_stranger, key=stranger),
            lct_to_msg(own, key=stranger),
            lct_to_msg(replace(own, provenance=another_step), key=load_key(keys, 'cam0')),
        ],
    )
    # Nor on the topic of the other camera.
    scene.say('cam1', [good, packed, copy_of(packed, other_bytes)])
    replayed, bad, foreign = (
        'replayed or outdated sequence',
        'invalid signature',
        'wrong entity for this topic',
    )
    refused = scene.graph.wait_for(
        lambda: (more := scene.refusals() - before).total() == 11 and more, 'their refusals'
    )
    assert refused == {
        f'cam0 rejected: {replayed}': 1,
        f'cam0 rejected: {bad}': 3,
        'cam0 rejected: missing signature': 1,
        'cam0 rejected: model fingerprint mismatch': 1,
        f'cam0 rejected: {foreign}': 1,
        'cam0 rejected: invalid provenance': 1,
        f'cam1 rejected: {replayed}': 1,
        f'cam1 rejected: {foreign}': 1,
        f'cam1 rejected: {bad}': 1,
    }
    for camera in CAMERAS:
        scene.reads(f"rejected LCT on {camera}/lcts: {replayed} (entity 'cam")
        scene.reads(f"rejected LCT on {camera}/lcts: {bad} (entity 'cam")
    scene.reads(f"{foreign} (entity 'mallory; reboot')")
    assert not scene.trusted('elsewhere')
    # The honest ones are none the worse for it.
    assert is_of_both(scene.see())


def test_a_forged_model_or_probe_set_is_refused_and_the_honest_one_stays(scene, keys):
    node = scene.node
    forger = Ed25519PrivateKey.generate()
    for name, kind in (('model_info', ModelInfo), ('probe_latents', ProbeSet)):
        latched = scene.graph.collect(kind, f'cam0/{name}', qos.LATCHED)
        (good,) = scene.graph.wait_for(lambda said=latched: list(said), f'the {name} of cam0')
        assert len(good.signature) == 64
        unsigned = copy_of(good, lambda said: setattr(said, 'signature', []))
        if kind is ModelInfo:
            forged = copy_of(good)
            said = sign_announcement(model_info_from_msg(good), forger)
            forged.signature = list(said.signature)
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
                'its refusal',
            )
        node.destroy_publisher(publisher)
    assert is_of_both(scene.see())


def test_a_frame_that_nobody_signed_for_settles_nothing(scene):
    """Its stamp is anybody's word: far ahead it would have all others given up."""
    later = Header(stamp=stamp_to_msg(2**31 * 10**9 - 1), frame_id='lens')
    for camera in CAMERAS:
        scene.say(camera, [], later)
    assert is_of_both(scene.see())
    assert later not in [array.header for array in [*scene._fused, *scene._trusted]]


def test_who_is_trusted_or_revoked_while_all_run_is_so_within_seconds(scene, keys):
    stranger = Ed25519PrivateKey.generate()
    TrustStore(keys).trust('cam0', public_bytes(stranger))

    def spoken():
        own = lct_from_msg(scene.heard('cam0', scene.see().header))
        lct = replace(own, id=b'with new' * 2, sequence=own.sequence + 1)
        before = scene.judged('cam0')
        scene.say('cam0', [lct_to_msg(lct, key=stranger)])
        scene.graph.wait_for(lambda: scene.judged('cam0') > before, 'what is made of it')
        return scene.trusted('elsewhere')

    assert scene.graph.wait_for(spoken, 'the new key is believed')[0].entity_id == 'cam0'
    # Its number is used up for the encoder, which goes on counting.
    scene.heard('cam0', scene.show())

    assert keyring.main(['revoke', 'cam1', '--dir', str(keys)]) == 0
    fused = scene.graph.wait_for(
        lambda: (fused := scene.see()) and not is_of_both(fused) and fused, 'cam1 is refused'
    )
    assert verify(lct_from_msg(fused.lcts[0]), TrustStore(keys)) is None
    assert scene.refusals()['cam1 rejected: revoked key'] > 0
    scene.reads("rejected LCT on cam1/lcts: revoked key (entity 'cam1')")
    scene.reads('sage keys create cam1 --rotate')
