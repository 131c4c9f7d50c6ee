# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of one robot in an SQLite file: crashes, other processes, damaged files."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from memories import DIM, SPACE, lct, memory_record, numbers, overwrite

from sage_perception.memory import Query, StoreError, open_store
from sage_perception.memory.query import MAX_STAMP_NS


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'memory.db'


def sql(path, *statements):
    """Execute statements on a memory file from outside."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        return [db.execute(statement).fetchall() for statement in statements]


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_the_files(path):
    before = os.umask(0)
    try:
        with open_store(path, SPACE) as store:
            store.add([memory_record(1)])
            store.commit()
            files = sorted(path.parent.glob('memory.db*'))
            assert [file.name for file in files] == ['memory.db', 'memory.db-shm', 'memory.db-wal']
            assert {mode_of(file) for file in files} == {0o600}
    finally:
        os.umask(before)


def test_takes_the_permissions_of_others_from_an_existing_memory(path, caplog):
    open_store(path, SPACE).close()
    path.chmod(0o644)
    open_store(path, SPACE, create=False).close()
    assert mode_of(path) == 0o644, 'a reader changes nothing'
    open_store(path, SPACE).close()
    assert mode_of(path) == 0o600
    assert f'{path} was accessible to other users' in caplog.text


def test_rejects_a_pipe_and_does_not_wait_for_it(path):
    os.mkfifo(path)
    with pytest.raises(StoreError, match=r'memory\.db: Not a regular file'):
        open_store(path, SPACE)


def test_a_full_memory_does_not_grow(path):
    with open_store(path, SPACE, capacity=300) as store:
        sizes = []
        for batch in range(12):
            store.add([memory_record(n, at_s=n) for n in range(batch * 100, batch * 100 + 100)])
            assert store.commit().records <= 300
            sql(path, 'PRAGMA wal_checkpoint(TRUNCATE)')
            sizes.append(store.contents().size_bytes)
    assert max(sizes[4:]) <= 1.1 * sizes[3]


def test_finds_what_another_process_writes(path):
    with open_store(path, SPACE) as node, open_store(path, SPACE) as command:
        node.add([memory_record(1), memory_record(2)])
        node.commit()
        assert len(command.find(Query(like=lct(1).latent.mean))) == 2
        command.forget(Query(until_ns=MAX_STAMP_NS))
        assert node.find(Query(like=lct(1).latent.mean)) == []
        assert node.novelty(lct(1).latent.mean[None]) == [1.0]


HELPERS = os.pathsep.join([str(Path(__file__).parent), os.environ.get('PYTHONPATH', '')])

WRITER = """
import sys
from memories import SPACE, memory_record
from sage_perception.memory import open_store
with open_store(sys.argv[1], SPACE, capacity=50) as store:
    for n in range(int(sys.argv[2]), 10**9):
        store.add([memory_record(n, at_s=n)])
        if n % 5 == 0:
            store.commit()
            print(n, flush=True)
"""


def test_sigkill_loses_only_what_was_not_committed(path):
    last = -1
    for kills in range(3):
        writer = subprocess.Popen(
            [sys.executable, '-c', WRITER, path, str(last + 1)],
            stdout=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': HELPERS},
        )
        for _ in range(7 + 5 * kills):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.communicate()[0].split()
        last = int(rest[-1]) if rest else last
        assert sql(path, 'PRAGMA integrity_check') == [[('ok',)]]
        with open_store(path, SPACE) as store:
            held = numbers(store.find(Query(count=100)))
            # The writer may have been killed between a commit and its report.
            newest = held[0]
            assert last <= newest <= last + 5
            assert held == list(range(newest, max(newest - 50, -1), -1))
            near = store.find(Query(like=lct(newest).latent.mean, count=1))
            assert numbers(near) == [newest]
        last = newest


@pytest.mark.parametrize(
    ('content', 'reason'),
    [(b'no database' * 100, 'not a database'), (None, 'Is a directory')],
)
def test_rejects_a_file_that_is_not_a_database_in_one_line(path, content, reason):
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(StoreError, match=f'memory.db.*{reason}') as error:
        open_store(path, SPACE)
    assert '\n' not in str(error.value)
    assert content is None or path.read_bytes() == content


def test_rejects_a_database_of_another_application(path):
    sql(path, 'CREATE TABLE recipes (name TEXT)')
    with pytest.raises(StoreError, match='another application'):
        open_store(path, SPACE)


def test_rejects_a_memory_of_another_version(path):
    open_store(path, SPACE).close()
    sql(path, 'PRAGMA user_version = 99')
    with pytest.raises(StoreError, match='version 99, expected version 1'):
        open_store(path, SPACE)


def test_does_not_create_a_file_unless_asked(path):
    with pytest.raises(StoreError, match='there is no memory'):
        open_store(path, create=False)
    assert not path.exists()


def test_names_the_file_when_a_write_fails_and_remains_usable(path, monkeypatch):
    connect = sqlite3.connect

    def connect_to_small_disk(*args, **options):
        connection = connect(*args, **options)
        connection.execute('PRAGMA max_page_count = 20')
        return connection

    with open_store(path, SPACE) as store:
        store.add([memory_record(1)])
        store.commit()
    monkeypatch.setattr(sqlite3, 'connect', connect_to_small_disk)
    with open_store(path, SPACE) as store:
        with pytest.raises(StoreError, match=r'memory.db: database or disk is full'):
            store.add([memory_record(n) for n in range(2, 500)])
        assert numbers(store.find(Query(like=lct(1).latent.mean))) == [1]
        assert store.add([memory_record(2)]) == 1


NAN = b'\0\0\xc0\x7f'


@pytest.mark.parametrize(
    'columns',
    [
        {'latent': b'odd'},
        {'latent': bytes(4 * DIM - 4)},
        {'latent': NAN * DIM},
        {'latent': 'text'},
        {'stamp': 'noon'},
        {'stamp': 1.5},
        {'track': b'x'},
        {'track': -1},
        {'entity': b'\xff'},
        {'lct': b'short'},
        {'detail': b'\xff\xfe'},
    ],
)
def test_skips_a_row_with_a_damaged_column(path, columns):
    with open_store(path, SPACE) as store:
        store.add([memory_record(n, at_s=n) for n in range(4)])
        store.commit()
    overwrite(path, 2, **columns)
    with open_store(path, SPACE) as store:
        assert not store.unreadable
        found = numbers(store.find(Query(like=lct(1).latent.mean)))
        assert sorted(found) == [0, 2, 3]
        assert numbers(store.find(Query())) == [3, 2, 0]
        assert store.novelty(lct(3).latent.mean[None]) == pytest.approx([0], abs=1e-6)
        assert list(store.unreadable) == [2]
        assert store.contents().records == 4
        assert store.add([memory_record(9)]) == 1


def test_skips_text_that_is_not_utf_8(path):
    with open_store(path, SPACE) as store:
        store.add([memory_record(n, at_s=n) for n in range(2)])
        store.commit()
    sql(path, "UPDATE sage_memory SET detail = CAST(x'fffe' AS TEXT) WHERE id = 1")
    with open_store(path, SPACE) as store:
        assert numbers(store.find(Query())) == [1]
        assert 'expected text' in store.unreadable[1]


def test_counts_only_valid_fingerprints_and_entities(path):
    with open_store(path, SPACE) as store:
        store.add([memory_record(n, at_s=n) for n in range(3)])
        store.commit()
    overwrite(path, 1, fingerprint=10**12, entity=b'x', stamp='noon')
    with open_store(path, SPACE) as store:
        contents = store.contents()
        assert contents.records == 3
        assert contents.models == {SPACE.model.fingerprint.hex(): 2}
        assert contents.entities == {'cam0': 2}
        assert numbers(store.find(Query())) == [2, 1]


def test_a_memory_without_a_file_creates_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_store(':memory:', SPACE) as store:
        assert store.add([memory_record(1)]) == 1
    assert not list(tmp_path.iterdir())
