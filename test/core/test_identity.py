# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Identities: sequences that survive restarts and threads, and signing keys."""

import threading
import time

import pytest
from signed_lcts import KEYS, a_store, an_lct

from sage_perception.trust import verify
from sage_perception.trust.security.identity import Identity, find_key
from sage_perception.trust.security.keys import KeyFault, key_text, public_bytes, save_key


def test_sequences_increase_and_continue_after_a_restart():
    before = time.time_ns()
    first = Identity('cam0')
    sequences = [first.next_sequence() for _ in range(100)]
    assert sequences == sorted(set(sequences))
    assert sequences[0] >= before
    assert Identity('cam0').next_sequence() > sequences[-1]


def test_sequences_can_start_anywhere():
    identity = Identity('cam0', start=1)
    assert [identity.next_sequence() for _ in range(3)] == [1, 2, 3]


def test_threads_never_get_the_same_sequence():
    identity, found = Identity('cam0'), []
    threads = [
        threading.Thread(
            target=lambda: found.extend(identity.next_sequence() for _ in range(2000))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8000


def test_identity_with_a_key_signs():
    identity = Identity('cam0', KEYS['cam0'])
    assert verify(identity.sign(an_lct()), a_store()) is None
    assert identity.public_key == key_text(public_bytes(KEYS['cam0']))


def test_identity_without_a_key_does_not_sign():
    identity, lct = Identity('cam0'), an_lct()
    assert identity.sign(lct) is lct
    assert identity.public_key == 'none'


def test_invalid_entity_id_is_rejected():
    with pytest.raises(KeyFault, match='is not a valid entity id'):
        Identity('x' * 65)


def test_key_is_found_by_its_folder_or_its_file(tmp_path):
    path = save_key(tmp_path, 'cam0', KEYS['cam0'])
    for location in (str(tmp_path), str(path)):
        assert public_bytes(find_key(location, 'cam0')) == public_bytes(KEYS['cam0'])
    assert find_key('', 'cam0') is None


def test_key_of_another_entity_is_rejected(tmp_path):
    path = save_key(tmp_path, 'cam0', KEYS['cam0'])
    with pytest.raises(KeyFault, match=r'is not named cam1\.key'):
        find_key(str(path), 'cam1')
    with pytest.raises(KeyFault, match='run sage keys create cam1'):
        find_key(str(tmp_path), 'cam1')
