# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Encoders, arbiter and viewer as processes, with crops and LCTs that the test publishes."""

import math
import time
from collections import Counter

import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sage_msgs.msg import (
    Agreement,
    AgreementArray,
    Crop,
    CropArray,
    Latent,
    LCTArray,
    ModelInfo,
    Provenance,
    Snarc,
)
from sage_msgs.srv import DecodeLatent, EncodeImage
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from sage_perception import models
from sage_perception.bringup.graph import dual_camera
from sage_perception.ros import qos
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.lcts import lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.images import image_to_msg, rgb_from_msg
from sage_perception.trust.fusion.fusion import ALONE_TRUST
from sage_perception.vision.synthetic import SyntheticWorld

CAMERAS = ('cam0', 'cam1')
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
OK, WARN, ERROR = b'\0', b'\1', b'\2'


class Bench:
    """Publishes the messages of cameras, and collects those of the nodes."""

    def __init__(self, graph):
        self.graph = graph
        node = graph.ros.node
        self._crops = {c: node.create_publisher(CropArray, f'{c}/crops', 10) for c in CAMERAS}
        self._frames = {c: node.create_publisher(Image, f'{c}/image_raw', 2) for c in CAMERAS}
        self._lcts = {c: node.create_publisher(LCTArray, f'{c}/lcts', 10) for c in CAMERAS}
        self.encoded = {c: graph.collect(LCTArray, f'{c}/lcts') for c in CAMERAS}
        self.trusted = graph.collect(LCTArray, 'trusted')
        self.fused = graph.collect(LCTArray, 'fused')
        self.agreement = graph.collect(AgreementArray, 'agreement')
        self.best = graph.collect(Image, 'cam0/crop_image')
        graph.health()
        for publishers, count in ((self._crops, 2), (self._lcts, 2)):
            for publisher in publishers.values():
                graph.wait_for(
                    lambda p=publisher, n=count: p.get_subscription_count() >= n, 'subscribers'
                )
        # Each moment is later than the previous one.
        self._time = node.get_clock().now().nanoseconds

    def header(self, offset_ns=0):
        return Header(stamp=stamp_to_msg(self._time + offset_ns), frame_id='lens')

    def next_moment(self):
        """Advance past the synchronization timeout of the arbiter."""
        clock = self.graph.ros.node.get_clock()
        later = self._time + 200_000_000
        self._time = self.graph.wait_for(
            lambda: clock.now().nanoseconds > later and clock.now().nanoseconds, 'time'
        )

    def see(self, camera, images, offset_ns=0):
        """Send the crops of one camera; each image is an array or a message."""
        header = self.header(offset_ns)
        crops = [
            Crop(
                image=p if isinstance(p, Image) else image_to_msg(p, 'rgb8', header),
                roi=RegionOfInterest(x_offset=70 * n, width=64, height=64),
                track_id=n + 1,
                score=0.5,
            )
            for n, p in enumerate(images)
        ]
        array = CropArray(header=header, source_width=640, source_height=480, crops=crops)
        self.send(camera, array)
        return header

    def send(self, camera, crops, frame=None):
        """Send an array of crops and their frame."""
        blank = np.full((48, 64, 3), 90, np.uint8)
        self._frames[camera].publish(frame or image_to_msg(blank, 'bgr8', crops.header))
        self._crops[camera].publish(crops)

    def publish(self, camera, lcts, header=None):
        """Publish LCTs as an encoder does."""
        array = LCTArray(header=header or self.header(), lcts=lcts)
        self._lcts[camera].publish(array)
        return array.header

    def of(self, messages, header, what):
        """Wait for the message of this header."""
        return self.graph.wait_for(
            lambda: next((m for m in list(messages) if m.header == header), None), what
        )

    def figures(self, part):
        """Wait for the next diagnostics and return the numeric values of a part."""
        count = len(self.graph.diagnostics)
        status = self.graph.wait_for(lambda: self.graph.health(count).get(part), f'{part} reports')
        texts = {pair.key: pair.value for pair in status.values}
        return {key: float(text) for key, text in texts.items() if text.isdigit()}


@pytest.fixture(scope='module')
def bench(run_graph):
    specs = dual_camera()
    kinds = ('encoder', 'arbiter', 'viewer')
    for spec in specs:
        if spec.name == 'encoder':
            spec.parameters['encoding'] = 'float32'  # with the variance
            spec.parameters['codes'] = ''  # a track shows one thing now and another later
    graph = run_graph([spec for spec in specs if spec.name in kinds])
    # The viewer draws only with a subscriber.
    graph.mosaics = graph.collect(Image, 'mosaic', last=1)
    bench = Bench(graph)

    def in_touch():
        bench.next_moment()
        for camera in CAMERAS:
            bench.see(camera, [])
        return bench.agreement

    graph.wait_for(in_touch, 'the connections')
    return bench


@pytest.fixture(autouse=True)
def at_a_new_moment(bench):
    bench.next_moment()


@pytest.fixture(scope='module')
def things():
    """Images of three different things, uint8 RGB."""
    worlds = [SyntheticWorld(seed=seed, width=128, height=128, objects=1) for seed in (5, 9, 10)]
    images = []
    for world in worlds:
        roi = world.truth(0.0)[0].roi
        x = min(max(roi.x + roi.width // 2 - 32, 0), 64)
        y = min(max(roi.y + roi.height // 2 - 32, 0), 64)
        images.append(np.ascontiguousarray(world.render(0.0)[y : y + 64, x : x + 64, ::-1]))
    return images


def assert_alone(fused):
    """Assert a low trust, times the reputation of a new camera."""
    encoded, alone = fused.provenance
    assert 0.5 * ALONE_TRUST <= alone.trust <= ALONE_TRUST
    assert fused.trust == pytest.approx(encoded.trust * alone.trust, rel=1e-3)


# Fusion of two cameras


def test_crops_of_the_same_objects_are_fused(bench, things):
    header = bench.see('cam0', things)
    bench.see('cam1', things[::-1], offset_ns=5_000_000)
    agreement = bench.of(bench.agreement, header, 'agreement')
    fused = bench.of(bench.fused, header, 'fused')
    assert (agreement.entity_a, agreement.entity_b) == CAMERAS
    assert agreement.stamp_delta_s == pytest.approx(0.005)
    assert (agreement.unmatched_a, agreement.unmatched_b) == (0, 0)
    assert {a.level for a in agreement.agreements} == {Agreement.LEVEL_HIGH}
    assert [(a.track_a, a.track_b) for a in agreement.agreements] == [(1, 3), (2, 2), (3, 1)]
    assert [a.similarity for a in agreement.agreements] == pytest.approx([1.0] * 3, abs=1e-4)
    mine = bench.of(bench.encoded['cam0'], header, 'the LCTs of cam0').lcts
    for own, both in zip(mine, fused.lcts, strict=True):
        own, both = lct_from_msg(own), lct_from_msg(both)
        # Two equal measurements have the same mean and half the variance.
        np.testing.assert_allclose(both.latent.mean, own.latent.mean, rtol=1e-5, atol=1e-6)
        half = own.latent.log_var - math.log(2)
        np.testing.assert_allclose(both.latent.log_var, half, rtol=1e-5, atol=1e-5)
        assert len(both.provenance) == 3
        # New cameras have half the reputation.
        assert 0.5 * ALONE_TRUST < both.trust / own.trust <= 1


def test_crops_of_different_objects_are_not_fused(bench, things):
    header = bench.see('cam0', things[:1])
    bench.see('cam1', things[1:2])
    agreement = bench.of(bench.agreement, header, 'agreement')
    fused = lct_from_msg(bench.of(bench.fused, header, 'fused').lcts[0])
    assert [a.level for a in agreement.agreements] == [Agreement.LEVEL_LOW]
    assert agreement.agreements[0].similarity < 0.7
    assert_alone(fused)


def test_object_of_one_camera_stays_unmatched(bench, things):
    header = bench.see('cam0', things)
    bench.see('cam1', things[:1])
    agreement = bench.of(bench.agreement, header, 'agreement')
    assert (agreement.unmatched_a, agreement.unmatched_b) == (2, 0)
    assert len(agreement.agreements) == 1
    fused = bench.of(bench.fused, header, 'fused')
    assert [len(lct.provenance) for lct in fused.lcts] == [3, 2, 2]


def test_frames_without_crops_are_published(bench):
    header = bench.see('cam0', [])
    bench.see('cam1', [])
    assert bench.of(bench.fused, header, 'fused').lcts == []
    assert bench.of(bench.agreement, header, 'agreement').agreements == []


def test_primary_camera_is_fused_alone_after_the_timeout(bench, things):
    header = bench.see('cam0', things)
    fused = bench.of(bench.fused, header, 'fused')
    assert [len(lct.provenance) for lct in fused.lcts] == [2, 2, 2]
    for lct in map(lct_from_msg, fused.lcts):
        assert_alone(lct)
    assert header not in [a.header for a in bench.agreement]


def test_frames_of_different_times_are_not_paired(bench, things):
    header = bench.see('cam0', things)
    bench.see('cam1', things, offset_ns=50_000_000)
    fused = bench.of(bench.fused, header, 'fused')
    assert [len(lct.provenance) for lct in fused.lcts] == [2, 2, 2]
    assert header not in [a.header for a in bench.agreement]


def test_unsigned_mode_is_reported_without_a_warning(bench):
    bench.figures('arbiter: agreement')
    arbiter, encoder = (
        bench.graph.health(-4)[part] for part in ('arbiter: agreement', 'cam0/encoder: model')
    )
    assert (arbiter.level, encoder.level) == (OK, OK)
    assert arbiter.message.startswith('arbitrating, signatures not required')
    assert encoder.message == 'encoding, unsigned'


# Invalid input


def test_malformed_crops_are_rejected_and_the_others_encoded(bench, things):
    good = image_to_msg(things[0], 'rgb8', bench.header())
    short = image_to_msg(things[0], 'rgb8', bench.header())
    short.data = short.data[:-1]
    bad = [
        short,
        Image(),
        Image(encoding='rgb8', width=64),
        Image(encoding='32FC1', width=1, height=1),
    ]
    before = bench.figures('cam0/encoder: input crops')['rejected']
    header = bench.see('cam0', [bad[0], good, *bad[1:], good])
    bench.of(bench.best, header, 'what the viewer shows')
    lcts = bench.of(bench.encoded['cam0'], header, 'the LCTs of cam0').lcts
    assert [lct.latent.track_id for lct in lcts] == [2, 6]
    assert lcts[0].latent.mean == lcts[1].latent.mean
    assert bench.figures('cam0/encoder: input crops')['rejected'] == before + len(bad)
    written = bench.graph.written('cam0/encoder')
    assert '/cam0/crops: data has 12287 bytes, but 64 x 64 pixels in rgb8' in written
    # The next crops are encoded, fused and shown.
    bench.next_moment()
    header = bench.see('cam0', things)
    bench.see('cam1', things)
    assert len(bench.of(bench.agreement, header, 'agreement').agreements) == 3
    bench.of(bench.best, header, 'what the viewer shows')


def test_viewer_survives_invalid_regions(bench, things):
    header = bench.header()
    most = 2**32 - 1
    roi = RegionOfInterest(x_offset=most, y_offset=most, width=most, height=most)
    crop = Crop(image=image_to_msg(things[0], 'rgb8', header), roi=roi, track_id=most)
    markers = bench.graph.collect(MarkerArray, 'cam0/markers')
    rejected = 'does not fit in a message: at most 65535 pixels'

    def is_rejected():
        # Warnings are throttled: one of an earlier test can suppress the first one of this test.
        bench.send('cam0', CropArray(header=header, crops=[crop]), frame=Image(header=header))
        time.sleep(0.2)
        return rejected in bench.graph.written('cam0/encoder')

    bench.graph.wait_for(is_rejected, rejected)
    bench.of(bench.best, header, 'what the viewer shows')
    for shown in (bench.graph.mosaics, markers):
        shown.clear()
        bench.graph.wait_for(lambda s=shown: s, 'what the viewer shows next')
    assert bench.graph.runner.processes['viewer'].restarts == 0


def test_crops_of_any_size_and_color_are_encoded(bench, things):
    gray = things[0].mean(axis=2).astype(np.uint8)
    images = [
        image_to_msg(np.ascontiguousarray(things[0][..., ::-1]), 'bgr8', bench.header()),
        image_to_msg(things[0].repeat(2, axis=0).repeat(2, axis=1), 'rgb8', bench.header()),
        image_to_msg(gray, 'mono8', bench.header()),
        image_to_msg(things[0][:1, :1], 'rgb8', bench.header()),
    ]
    header = bench.see('cam0', [things[0], *images])
    plain, swapped, doubled, *_ = bench.of(bench.encoded['cam0'], header, 'LCTs').lcts
    assert swapped.latent.mean == plain.latent.mean
    assert doubled.latent.mean == plain.latent.mean


def an_lct(bench, things, camera='cam0'):
    """Return a valid LCT of an encoder, which the arbiter has accepted."""
    header = bench.see(camera, things[:1])
    lct = bench.of(bench.encoded[camera], header, 'an LCT').lcts[0]
    bench.of(bench.trusted, header, 'its acceptance')
    bench.next_moment()
    return lct


def edited(lct, header, number, edit=lambda lct: None):
    """Return a copy with the stamp of `header` and another entity, changed by `edit`."""
    copy = deserialize_message(serialize_message(lct), type(lct))
    copy.entity_id = 'forger'
    copy.membership = []
    copy.sequence = number
    copy.stamp = stamp_to_msg(stamp_from_msg(header.stamp))
    edit(copy)
    return copy


def nan(lct):
    lct.latent.mean[3] = math.nan


def infinite_variance(lct):
    lct.latent.log_var[0] = math.inf


def huge(lct):
    lct.latent.mean[0] = 1e9


def too_short(lct):
    lct.latent.mean = lct.latent.mean[:16]
    lct.latent.log_var = lct.latent.log_var[:16]


def empty(lct):
    lct.latent.mean = []
    lct.latent.log_var = []


def uneven(lct):
    lct.latent.log_var = lct.latent.log_var[:16]


def unknown_kind(lct):
    lct.latent.kind = 200


def overtrusted(lct):
    lct.trust = 7.0


def nan_trust(lct):
    lct.trust = math.nan


def embellished(lct):
    lct.trust = min(1.0, lct.trust + 0.2)


def endless_chain(lct):
    lct.provenance += [
        Provenance(operation=Provenance.OPERATION_RELAY, entity_id='forger', trust=1.0)
    ] * 15


def without_entity(lct):
    lct.entity_id = ''


def without_stamp(lct):
    lct.stamp = stamp_to_msg(0)


def packed(lct):
    """Set a payload that is valid for any model with 64 dimensions."""
    lct.latent.encoding = Latent.ENCODING_INT8
    lct.latent.mean, lct.latent.log_var, lct.latent.payload = [], [], [0] * 64


def packed_for_unknown_model(lct):
    packed(lct)
    lct.latent.model.fingerprint = np.full(32, 9, np.uint8)


def packed_too_short(lct):
    packed(lct)
    lct.latent.payload = lct.latent.payload[:-1]


def of_no_model(lct):
    lct.latent.model.fingerprint = np.zeros(32, np.uint8)


def of_another_model(lct):
    lct.latent.model.fingerprint = np.full(32, 9, np.uint8)


def long_ago(lct):
    lct.stamp.sec -= 60


def early(lct):
    lct.stamp.sec += 60


def with_snarc(lct):
    lct.latent.snarc = [Snarc(novelty=2.0)]


def old(lct):
    lct.sequence = 1


FORGERIES = {
    nan: 'value not finite',
    infinite_variance: 'value not finite',
    huge: 'value out of range',
    too_short: 'latent dimension mismatch',
    empty: 'latent dimension mismatch',
    uneven: 'malformed message',
    unknown_kind: 'malformed message',
    overtrusted: 'value out of range',
    nan_trust: 'value out of range',
    embellished: 'invalid provenance',
    endless_chain: 'value out of range',
    without_entity: 'missing entity id',
    without_stamp: 'missing time stamp',
    packed_for_unknown_model: 'model fingerprint mismatch',
    packed_too_short: 'malformed message',
    of_no_model: 'unknown model',
    of_another_model: 'model fingerprint mismatch',
    long_ago: 'time stamp outside tolerance',
    early: 'time stamp outside tolerance',
    with_snarc: 'value out of range',
    old: 'replayed or outdated sequence',
}


def test_invalid_lcts_are_rejected_by_reason_and_the_others_accepted(bench, things):
    good = an_lct(bench, things)
    arbiter = 'arbiter: agreement'
    before = bench.figures(arbiter)
    bench.next_moment()
    header = bench.header()
    forged = [edited(good, header, n, forge) for n, forge in enumerate(FORGERIES, 101)]
    sound = [edited(good, header, 100), edited(good, header, 199, packed)]
    bench.publish('cam0', [sound[0], *forged, sound[1]])
    trusted = bench.of(bench.trusted, header, 'what is trusted')
    assert [lct.sequence for lct in trusted.lcts] == [100, 199]
    assert len(bench.of(bench.fused, header, 'fused').lcts) == 2
    after = bench.figures(arbiter)
    counts = [name for name in after if name.startswith(('cam0 accepted', 'cam0 rejected'))]
    more = {name: after[name] - before.get(name, 0) for name in counts}
    expected = Counter(f'cam0 rejected: {reason}' for reason in FORGERIES.values())
    assert more == {**expected, 'cam0 accepted': 2, 'cam0 rejected': len(FORGERIES)}
    for reason in set(FORGERIES.values()):
        text = f'/arbiter rejected an LCT on /cam0/lcts: {reason}'
        bench.graph.wait_for(lambda w=text: w in bench.graph.written('arbiter'), text)
    assert "'forger'): synchronize the clocks" in bench.graph.written('arbiter')


def test_replayed_lct_is_rejected(bench, things):
    good = an_lct(bench, things)
    replays = 'cam0 rejected: replayed or outdated sequence'
    before = bench.figures('arbiter: agreement').get(replays, 0)
    bench.next_moment()
    header = bench.header()
    bench.publish('cam0', [good, edited(good, header, 200)])
    assert [x.sequence for x in bench.of(bench.trusted, header, 'trusted').lcts] == [200]
    assert bench.figures('arbiter: agreement')[replays] == before + 1


@pytest.fixture(scope='module')
def announced(bench):
    """Return the model of cam1, and a publisher on its topic."""
    infos = bench.graph.collect(ModelInfo, 'cam1/model_info', qos.LATCHED)
    info = bench.graph.wait_for(lambda: infos and infos[0], 'the model')
    publisher = bench.graph.ros.node.create_publisher(ModelInfo, 'cam1/model_info', qos.LATCHED)
    bench.graph.wait_for(lambda: publisher.get_subscription_count() == 2, 'the arbiter')
    return info, publisher


def test_latents_of_an_unmeasured_model_are_rejected(bench, things, announced):
    good = an_lct(bench, things)
    info, publisher = announced
    other = deserialize_message(serialize_message(info), ModelInfo)
    other.model.fingerprint = np.full(32, 9, np.uint8)
    publisher.publish(other)
    bench.graph.wait_for(
        lambda: bench.figures('arbiter: input cam1/model_info')['received'] == 2, 'another model'
    )
    bench.next_moment()
    header = bench.header()
    bench.publish('cam0', [edited(good, header, 300), edited(good, header, 301)])
    bench.publish('cam1', [edited(good, header, 302, of_another_model)], header)
    assert [len(lct.provenance) for lct in bench.of(bench.fused, header, 'fused').lcts] == [2, 2]
    assert (
        '/arbiter rejected an LCT on /cam1/lcts: compatibility not measured'
        in bench.graph.written('arbiter')
    )
    publisher.publish(info)
    bench.graph.wait_for(
        lambda: bench.figures('arbiter: input cam1/model_info')['received'] == 3, 'its own model'
    )


def test_model_with_invalid_statistics_is_rejected(bench, things, announced):
    info, publisher = announced
    info = deserialize_message(serialize_message(info), ModelInfo)
    before = bench.figures('arbiter: input cam1/model_info')['rejected']
    mean, std = info.latent_mean, info.latent_std
    bad = (mean, [0.0] * len(std)), ([math.inf] * len(mean), std), ([], [])
    for number, (info.latent_mean, info.latent_std) in enumerate(bad, 1):
        publisher.publish(info)
        # One at a time: a latched topic keeps only the last message.
        bench.graph.wait_for(
            lambda n=number: (
                bench.figures('arbiter: input cam1/model_info')['rejected'] == before + n
            ),
            'its refusal',
        )
    header = bench.see('cam0', things)
    bench.see('cam1', things)
    agreements = bench.of(bench.agreement, header, 'agreement').agreements
    assert {a.level for a in agreements} == {Agreement.LEVEL_HIGH}


# Quality of service


def test_incompatible_publisher_is_named_with_the_fix(bench):
    """Encoders require reliable crops, and name a publisher that offers less."""
    node = bench.graph.ros.node
    publisher = node.create_publisher(CropArray, 'cam1/crops', BEST_EFFORT)
    expected = 'Set qos_overrides./cam1/crops.subscription.reliability to best_effort'
    bench.graph.wait_for(lambda: expected in bench.graph.written('cam1/encoder'), 'the message')
    part = 'cam1/encoder: input crops'

    def error():
        status = bench.graph.health(-4).get(part)
        return status and status.level == ERROR and status.message

    message = bench.graph.wait_for(error, 'the diagnostics')
    assert 'incompatible QoS on /cam1/crops' in message
    assert expected in message
    bench.graph.ros.destroy(publisher)


# Services


@pytest.fixture(scope='module')
def codec():
    return models.load('tinyvae', backend='onnxruntime')


def test_one_image_is_encoded_on_request(bench, things, codec):
    image = image_to_msg(things[0], 'rgb8', Header())
    answer = bench.graph.ros.ask(EncodeImage, 'cam0/encoder/encode_image', image=image)
    assert (answer.success, answer.message) == (True, '')
    value = latent_from_msg(answer.latent)
    x = things[0].transpose(2, 0, 1)[None].astype(np.float32) / 255
    assert np.array_equal(value.mean, codec.encode(x)[0])
    assert value.model == codec.id
    assert value.roi is None


def test_one_latent_is_decoded_on_request(bench, things, codec):
    image = image_to_msg(things[0], 'rgb8', Header())
    encoded = bench.graph.ros.ask(EncodeImage, 'cam0/encoder/encode_image', image=image)
    # The other camera's encoder has the same model.
    service = 'cam1/encoder/decode_latent'
    answer = bench.graph.ros.ask(DecodeLatent, service, latent=encoded.latent)
    assert (answer.success, answer.message) == (True, '')
    expected = codec.decode(latent_from_msg(encoded.latent).mean[None])[0].transpose(1, 2, 0) * 255
    assert np.array_equal(
        rgb_from_msg(answer.image), np.rint(expected.clip(0, 255)).astype(np.uint8)
    )


def test_failed_requests_are_explained(bench, things):
    ask = bench.graph.ros.ask
    answer = ask(EncodeImage, 'cam0/encoder/encode_image', image=Image(encoding='rgb8'))
    assert (answer.success, answer.message) == (False, 'the image has 0 x 0 pixels')
    image = image_to_msg(things[0], 'rgb8', Header())
    latent = ask(EncodeImage, 'cam0/encoder/encode_image', image=image).latent
    latent.model.fingerprint = np.full(32, 9, np.uint8)
    answer = ask(DecodeLatent, 'cam0/encoder/decode_latent', latent=latent)
    assert not answer.success
    assert answer.message.startswith('the latent is of tinyvae@')
    latent = ask(EncodeImage, 'cam0/encoder/encode_image', image=image).latent
    latent.mean[0] = math.nan
    answer = ask(DecodeLatent, 'cam0/encoder/decode_latent', latent=latent)
    assert (answer.success, answer.message) == (False, 'the latent is not finite')
    latent.mean, latent.log_var = [0.0] * 16, []
    answer = ask(DecodeLatent, 'cam0/encoder/decode_latent', latent=latent)
    assert not answer.success
    assert 'takes latents as float32 [B, 64]' in answer.message
