# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory node when its store fails, and when it is started wrongly."""

import pytest

from sage_perception.nodes import memory_node
from sage_perception.nodes.memory_node import MemoryNode
from sage_perception.ros.errors import ConfigurationError


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
