# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Bags of earlier releases: readable, verifiable, and accepted by the nodes of today.

`test/data/bags/sage_msgs_0_1` was recorded with sage 0.1 from a two-camera graph whose nodes sign;
cam1 packs its latents. The JSON file beside it holds the public keys of the signers.
"""

import shutil
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from bags import RELIABLE, write_bag
from diagnostic_msgs.msg import DiagnosticArray
from sage_msgs.msg import AgreementArray, CropArray, LCTArray, ProbeSet, TrustReport
from sensor_msgs.msg import Image

from sage_perception.bags.legacy import current_name
from sage_perception.bags.reader import open_bag
from sage_perception.bags.replay import ReplayOptions, published_names
from sage_perception.cli.replay import main as replay
from sage_perception.codecs.packing import Packer
from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.nodes.viewer_node import ViewerNode
from sage_perception.ros import qos
from sage_perception.ros.conversions.announcements import model_info_from_msg, probe_set_from_msg
from sage_perception.ros.conversions.latents import latent_from_msg, unpack
from sage_perception.ros.conversions.lcts import packed_lct_from_msg
from sage_perception.ros.images import image_to_msg
from sage_perception.trust import TrustStore, verify
from sage_perception.trust.security.announcements import verify_announcement

DATA = Path(__file__).resolve().parents[1] / 'data' / 'bags'
BAG = DATA / 'sage_msgs_0_1'
CAMERAS = ('cam0', 'cam1')
CHANGED = {
    'sage_msgs/msg/LCTArray',
    'sage_msgs/msg/HContext',
    'sage_msgs/msg/CropArray',
    'sage_msgs/msg/AgreementArray',
    'sage_msgs/msg/SnarcArray',
    'sage_msgs/msg/TrustReport',
}


@pytest.fixture
def keys(tmp_path):
    """A key folder that trusts the signers of the bag."""
    folder = tmp_path / 'keys'
    folder.mkdir(mode=0o700)
    shutil.copy(DATA / 'sage_msgs_0_1_trusted.json', folder / 'trusted.json')
    return folder


@pytest.fixture(scope='module')
def recorded():
    """The messages of the bag by topic, each with its log time."""
    messages = defaultdict(list)
    with open_bag(BAG) as bag:
        for topic, _, log_time_ns, data in bag:
            messages[topic].append((log_time_ns, bag.deserialize(topic, data)))
        assert sum(map(len, messages.values())) == bag.count == 94
    return messages


def test_changed_types_are_converted():
    with open_bag(BAG) as bag:
        notes = {topic: bag.check(topic) for topic in bag.topics}
        changed = {topic for topic, note in notes.items() if 'messages are converted' in note}
        assert changed == {t.name for t in bag.topics.values() if t.type_name in CHANGED}
        assert not any(note for topic, note in notes.items() if topic not in changed)


@pytest.mark.parametrize('topic', ['/cam0/lcts', '/cam1/lcts', '/trusted', '/fused'])
def test_lcts_verify_at_the_time_of_the_recording(topic, recorded, keys):
    store = TrustStore(keys)
    count = 0
    for log_time_ns, array in recorded[topic]:
        for message in array.lcts:
            lct, wire = packed_lct_from_msg(message)
            assert lct.signature
            assert verify(lct, store, wire=wire, now_ns=log_time_ns) is None
            count += 1
    assert count > 20


@pytest.mark.parametrize('topic', ['/recall', '/l_latent'])
def test_derived_lcts_verify(topic, recorded, keys):
    store = TrustStore(keys)
    messages = [message for _, array in recorded[topic] for message in array.lcts]
    assert messages
    for message in messages:
        lct, wire = packed_lct_from_msg(message)
        assert verify(lct, store, wire=wire) is None


@pytest.mark.parametrize('camera', CAMERAS)
def test_announcements_verify_and_packed_latents_decode(camera, recorded, keys):
    store = TrustStore(keys)
    [(_, info)] = recorded[f'/{camera}/model_info']
    [(_, probes)] = recorded[f'/{camera}/probes']
    model = model_info_from_msg(info)
    assert verify_announcement(model, store).fault is None
    assert verify_announcement(probe_set_from_msg(probes), store).fault is None
    packers = {model.model.fingerprint: Packer(model.mean, model.std)}
    encodings = Counter()
    for _, array in recorded[f'/{camera}/lcts']:
        for message in array.lcts:
            lct, wire = packed_lct_from_msg(message)
            assert unpack(lct.latent, wire, packers).dim == model.dim
            encodings[wire.packed] += 1
    assert set(encodings) == {camera == 'cam1'}


def test_contexts_decode(recorded):
    for _, context in recorded['/h_context']:
        assert latent_from_msg(context.latent).dim == 4096


def test_only_renamed_topics_of_the_right_type_are_mapped():
    assert current_name('/cam0/deltas', 'sage_msgs/msg/CropArray') == '/cam0/residuals'
    assert current_name('/cam0/probes', 'sage_msgs/msg/ProbeSet') == '/cam0/probe_latents'
    assert current_name('probes', 'sage_msgs/msg/ProbeSet') == 'probe_latents'
    assert current_name('/probes/lcts', 'sage_msgs/msg/LCTArray') == '/probes/lcts'
    assert current_name('/voltage/probes', 'std_msgs/msg/Float32') == '/voltage/probes'


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        ({'topics': ('/cam0/deltas',)}, {'/cam0/deltas': '/cam0/residuals'}),
        ({'topics': ('/cam0/residuals',)}, {'/cam0/deltas': '/cam0/residuals'}),
        (
            {'topics': ('/cam0/deltas',), 'remap': {'/cam0/deltas': '/cam0/deltas'}},
            {'/cam0/deltas': '/cam0/deltas'},
        ),
        (
            {'topics': ('/cam0/deltas',), 'remap': {'/cam0/residuals': '/other'}},
            {'/cam0/deltas': '/other'},
        ),
        ({'topics': ('/cam0/crops',)}, {'/cam0/crops': '/cam0/crops'}),
    ],
)
def test_options_accept_old_and_new_names(options, names):
    notes = []
    with open_bag(BAG) as bag:
        assert published_names(bag, ReplayOptions(**options), notes.append) == names
    renamed = [note for note in notes if 'is published as' in note]
    assert len(renamed) == ('/cam0/residuals' in names.values())


def test_topic_keeps_its_name_beside_one_of_the_new_name(tmp_path):
    crops = ('sage_msgs/msg/CropArray', RELIABLE)
    topics = {'/deltas': crops, '/residuals': crops}
    with open_bag(write_bag(tmp_path / 'bag', [], topics)) as bag:
        names = published_names(bag, ReplayOptions(), print)
    assert names == {topic: topic for topic in topics}


def test_nodes_of_today_accept_the_replay(ros, keys, recorded, capfd):
    arguments = ['-p', 'use_sim_time:=true', '-p', f'keys:={keys}']
    arguments += ['-p', 'require_signatures:=true']
    ros.make(ArbiterNode, *arguments, name='arbiter')
    # The viewer shows the crops and latents of a frame, and the bag has no frames.
    frames = ros.node.create_publisher(Image, 'cam0/image_raw', qos.CAMERA)
    frame = np.zeros((480, 640, 3), np.uint8)
    ros.node.create_subscription(
        CropArray,
        'cam0/crops',
        lambda crops: frames.publish(image_to_msg(frame, 'bgr8', crops.header)),
        10,
    )
    ros.make(ViewerNode, '-p', 'use_sim_time:=true', '-p', 'rate:=30.0', name='viewer')
    trusted = ros.collect(LCTArray, 'trusted')
    fused = ros.collect(LCTArray, 'fused')
    agreements = ros.collect(AgreementArray, 'agreement')
    reports = ros.collect(TrustReport, 'trust_report')
    decoded = ros.collect(Image, 'cam0/reconstruction')
    residuals = ros.collect(CropArray, '/cam1/residuals')
    probes = [ros.collect(ProbeSet, f'/{c}/probe_latents', qos.LATCHED) for c in CAMERAS]
    health = ros.collect(DiagnosticArray, '/diagnostics')

    outputs = '^/(trusted|fused|agreement|trust_report)$'
    assert replay([str(BAG), '--clock', '100', '--exclude', outputs]) == 0

    sent = {camera: sum(len(m.lcts) for _, m in recorded[f'/{camera}/lcts']) for camera in CAMERAS}
    ros.wait_for(lambda: sum(len(a.lcts) for a in trusted) == sum(sent.values()), 'all LCTs')
    ros.wait_for(lambda: any(a.lcts for a in fused) and agreements, 'fused LCTs')
    ros.wait_for(lambda: decoded, 'a decoded latent')

    def values(part):
        found = [s.values for array in health for s in array.status if s.name == part]
        return {pair.key: pair.value for pair in found[-1]} if found else {}

    for camera in CAMERAS:
        accepted, count = f'{camera} accepted', str(sent[camera])
        # Diagnostics follow within a second, on the steady clock.
        ros.wait_for(lambda a=accepted, n=count: values('arbiter: agreement').get(a) == n)
        assert values('arbiter: agreement')[f'{camera} rejected'] == '0'
        probe_input = values(f'arbiter: input {camera}/probe_latents')
        assert (probe_input['received'], probe_input['rejected']) == ('1', '0')
    assert {report.entity_b for report in reports} == set(CAMERAS)
    assert len(residuals) == len(recorded['/cam1/deltas'])
    assert all(len(messages) == 1 for messages in probes)
    log = capfd.readouterr().err
    for camera in CAMERAS:
        for old, new in (('deltas', 'residuals'), ('probes', 'probe_latents')):
            note = f'/{camera}/{old} is published as /{camera}/{new}, its name in this release'
            assert f'sage replay: {note}\n' in log
