# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory node when its store fails, and when it is started wrongly."""

import numpy as np
import pytest
from sage_msgs.msg import LCTArray, SnarcArray
from std_msgs.msg import Header

from sage_perception.cli import keys as keyring
from sage_perception.core.latent import Latent
from sage_perception.core.lct import LCT
from sage_perception.memory import Space
from sage_perception.nodes import memory_node
from sage_perception.nodes.memory_node import MemoryNode
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.trust.security.keys import load_key

SPACE = Space.of('tinyvae')


def test_it_goes_on_without_its_store_and_takes_it_up_again(ros, tmp_path, monkeypatch):
    monkeypatch.setattr(memory_node, 'REOPEN_AFTER_S', 3600)
    node = ros.make(MemoryNode, '-p', f'store:={tmp_path / "memory.db"}')
    assert node._report()[0] == memory_node.OK
    node._memory.store._db.close()  # as a disk that is gone
    message = ros.wait_for(lambda: node._fault, 'it notices')
    assert 'memory.db' in message
    assert node._report()[:2] == (memory_node.ERROR, f'without memory: {message}')
    monkeypatch.setattr(memory_node, 'REOPEN_AFTER_S', 0)
    ros.wait_for(lambda: node._memory is not None, 'it is open again')
    assert node._report()[0] == memory_node.OK


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [
        (('-p', 'store:={folder}'), "parameter 'store': .* unable to open"),
        (('-p', 'model:=nothing'), "parameter 'model': 'nothing' is neither"),
        (('-p', 'threshold:=1.5'), "parameter 'threshold': 1.5 is not 0.0 to 1.0"),
        (('-p', 'store:={folder}/m.db', '-p', 'key:={folder}/no.key'), "parameter 'key':"),
    ],
)
def test_a_start_that_cannot_be_names_the_parameter(ros, tmp_path, arguments, complaint):
    given = [argument.format(folder=tmp_path) for argument in arguments]
    with pytest.raises(ConfigurationError, match=complaint):
        ros.make(MemoryNode, *given)


class Trusted:
    """The topic of an arbiter, and what memory finds of what is said there."""

    def __init__(self, ros, tmp_path, *arguments):
        self.ros, self.number = ros, 0
        place = ('-p', f'store:={tmp_path / "memory.db"}')
        self.node = ros.make(MemoryNode, *place, *arguments)
        self.publisher = ros.node.create_publisher(LCTArray, 'trusted', 10)
        self.found = ros.collect(SnarcArray, 'snarc')
        ros.wait_for(self.publisher.get_subscription_count, 'the memory')
        ros.wait_for(self.node._snarc.get_subscription_count, 'that it knows us')

    def lct(self, entity, stamp_ns=None, key=None):
        self.number += 1
        stamp_ns = stamp_ns or self.node.get_clock().now().nanoseconds
        mean = SPACE.mean + np.random.default_rng(self.number).standard_normal(64)
        latent = Latent(mean.astype(np.float32), model=SPACE.model, track_id=self.number)
        lct = LCT.encoded(
            latent, entity_id=entity, sequence=self.number, stamp_ns=stamp_ns, trust=1.0
        )
        return lct_to_msg(lct, key=key)

    def say(self, *lcts, camera=''):
        header = Header(stamp=stamp_to_msg(9), frame_id='camera')
        self.publisher.publish(LCTArray(header=header, lcts=lcts, camera=camera))

    def tracks(self):
        """Return which tracks were found in which camera, in this order."""
        return [(a.camera, score.track_id) for a in list(self.found) for score in a.scores]


def test_cameras_are_told_apart_by_who_speaks_for_them(ros, tmp_path):
    trusted = Trusted(ros, tmp_path)
    # Two drivers that call their frames alike.
    lcts = [trusted.lct(camera) for camera in ('cam0', 'cam1')]
    for lct in lcts:
        trusted.say(lct)
    ros.wait_for(lambda: len(trusted.found) == 2, 'both')
    assert set(trusted.tracks()) == {('cam0', 1), ('cam1', 2)}
    assert all(array.header.stamp in [lct.stamp for lct in lcts] for array in trusted.found)


def test_what_is_said_again_or_was_said_long_ago_is_not_remembered(ros, tmp_path):
    keys = tmp_path / 'keys'
    assert keyring.main(['create', 'cam0', '--dir', str(keys)]) == 0
    trusted = Trusted(ros, tmp_path, '-p', f'keys:={keys}', '-p', 'require_signatures:=true')
    key = load_key(keys, 'cam0')
    old, first = trusted.lct('cam0', 10**9, key), trusted.lct('cam0', key=key)
    trusted.say(old)
    trusted.say(first)
    # It looks at the newest of a camera, and at what is older only if that is not believed.
    trusted.say(trusted.lct('cam0'))
    ros.wait_for(lambda: trusted.tracks() == [('cam0', 2)], 'what is new')
    trusted.say(camera='cam0')
    last = trusted.lct('cam0', key=key)
    trusted.say(last)
    ros.wait_for(lambda: trusted.tracks()[1:] == [('cam0', 4)], 'what comes next')
    trusted.say(first)
    belief = trusted.node._trusted._screen.reasons
    ros.wait_for(lambda: belief['replayed or old sequence'], 'the replay')
    trusted.say(old)
    ros.wait_for(lambda: belief['replayed or old sequence'] == 2, 'yesterday')
    assert trusted.tracks() == [('cam0', 2), ('cam0', 4)]
