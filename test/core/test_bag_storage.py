# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Bags of other tools: storages, compressions, split files, metadata, damage."""

import shutil
import sqlite3
import time

import lz4.frame
import mcap.writer
import numpy as np
import pytest
import yaml
from damage import damaged
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sage_perception.bags import storage
from sage_perception.bags.files import BagError, storage_files
from sage_perception.bags.reader import open_bag
from sage_perception.bags.repair import ORIGINAL_SUFFIX, repair
from sage_perception.vision.image_messages import to_bgr

STORE = get_typestore(Stores.ROS2_HUMBLE)
IMAGE = 'sensor_msgs/msg/Image'
START = 1_700_000_000 * 10**9
STEP = 10**8
COUNT = 30


def image(index):
    """Return a gray image whose pixels are its number."""
    types = STORE.types
    stamp = types['builtin_interfaces/msg/Time'](*divmod(START + index * STEP, 10**9))
    header = types['std_msgs/msg/Header'](stamp, 'cam')
    pixels = np.full(8 * 6, index, np.uint8)
    return STORE.serialize_cdr(types[IMAGE](header, 6, 8, 'mono8', 0, 8, pixels), IMAGE)


def write_part(path, indices, plugin, mode=CompressionMode.NONE, version=8):
    """Write some of the images as a bag of one file; return the file."""
    writer = Writer(path, version=version, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection('/cam0/image_raw', IMAGE, typestore=STORE)
        for index in indices:
            writer.write(connection, START + index * STEP, bytes(image(index)))
    (file,) = storage_files(path)
    return file


def split_bag(folder, parts, plugin, mode=CompressionMode.NONE, version=8):
    """Write a bag of `COUNT` images in `parts` files, with metadata as `ros2 bag` writes it."""
    folder.mkdir()
    size = COUNT // parts
    files = []
    for part in range(parts):
        whole = folder.with_name('part')
        file = write_part(whole, range(part * size, (part + 1) * size), plugin, mode, version)
        files.append(f'bag_{part}{file.name.removeprefix("part")}')
        shutil.move(file, folder / files[-1])
        content = yaml.safe_load((whole / 'metadata.yaml').read_text())
        shutil.rmtree(whole)
    info = content['rosbag2_bagfile_information']
    info['relative_file_paths'] = files
    info['starting_time']['nanoseconds_since_epoch'] = START
    info['duration']['nanoseconds'] = (COUNT - 1) * STEP
    info['message_count'] = COUNT
    info['topics_with_message_count'][0]['message_count'] = COUNT
    info['files'] = []
    write_metadata(folder, info)
    return info


def write_metadata(folder, info):
    text = yaml.safe_dump({'rosbag2_bagfile_information': info})
    (folder / 'metadata.yaml').write_text(text)


def numbers(path):
    """Return the numbers of the images in a bag, in the order of reading."""
    with open_bag(path) as bag:
        decoded = [to_bgr(bag.decode(m.topic, m.data)) for m in bag]
        assert len(decoded) == bag.count == bag.topics['/cam0/image_raw'].count
        return [int(pixels[0, 0, 0]) for pixels in decoded]


def assert_whole(path):
    assert numbers(path) == list(range(COUNT))
    with open_bag(path) as bag:
        assert bag.duration_s == pytest.approx((COUNT - 1) * STEP * 1e-9)


@pytest.mark.parametrize('metadata', ['present', 'missing', 'damaged', 'wrong'])
@pytest.mark.parametrize('parts', [1, 3])
@pytest.mark.parametrize('mode', list(CompressionMode))
@pytest.mark.parametrize('plugin', list(StoragePlugin))
def test_reads_all_messages(tmp_path, plugin, mode, parts, metadata):
    if (plugin, mode) == (StoragePlugin.SQLITE3, CompressionMode.STORAGE):
        return  # SQLite has no compression of its own
    folder = tmp_path / 'bag'
    info = split_bag(folder, parts, plugin, mode, version=9 if parts == 1 else 8)
    if metadata == 'missing':
        (folder / 'metadata.yaml').unlink()
    elif metadata == 'damaged':
        (folder / 'metadata.yaml').write_bytes(bytes(300))
    elif metadata == 'wrong':
        # As Humble writes it for split bags: the duration and the count of one file.
        info['duration']['nanoseconds'] = 9 * STEP
        info['message_count'], info['storage_identifier'] = 10, ''
        write_metadata(folder, info)
    assert_whole(folder)
    with open_bag(folder) as bag:
        assert bool(bag.notes) == (metadata != 'present')
        assert all(str(folder) in note for note in bag.notes)


@pytest.mark.parametrize('index', [IndexType.ALL, IndexType.NONE, IndexType.CHUNK])
@pytest.mark.parametrize('chunked', [True, False])
@pytest.mark.parametrize('compression', list(CompressionType))
def test_reads_mcap_files_of_any_layout(tmp_path, compression, chunked, index):
    path = tmp_path / 'any.mcap'
    write_mcap(path, range(COUNT), compression, use_chunking=chunked, index_types=index)
    assert_whole(path)


def write_mcap(
    path,
    indices,
    compression=CompressionType.NONE,
    profile='ros2',
    encoding='cdr',
    name=IMAGE,
    **options,
):
    """Write an MCAP file with its own library, a chunk for each five images."""
    writer = mcap.writer.Writer(str(path), compression=compression, chunk_size=700, **options)
    writer.start(profile)
    definition = STORE.generate_msgdef(IMAGE, ros_version=2)[0].encode()
    schema = writer.register_schema(name, 'ros2msg', definition)
    channel = writer.register_channel('/cam0/image_raw', encoding, schema)
    for index in indices:
        time_ns = START + index * STEP
        writer.add_message(channel, time_ns, bytes(image(index)), time_ns)
    writer.finish()


def test_type_names_without_namespace(tmp_path):
    write_mcap(tmp_path / 'any.mcap', range(COUNT), name='sensor_msgs/Image')
    assert_whole(tmp_path / 'any.mcap')
    with open_bag(tmp_path / 'any.mcap') as bag:
        assert {message.type_name for message in bag} == {IMAGE}


def test_messages_in_another_serialization_are_skipped_with_a_note(tmp_path):
    write_mcap(tmp_path / 'any.mcap', range(COUNT), encoding='json')
    with open_bag(tmp_path / 'any.mcap') as bag:
        assert (bag.count, list(bag), bag.topics) == (0, [], {})
        assert bag.notes == ["/cam0/image_raw is skipped: its messages are in 'json', not CDR"]


def test_unindexed_file_out_of_order_is_repaired(tmp_path):
    path = tmp_path / 'any.mcap'
    order = [*range(1, COUNT), 0]
    write_mcap(path, order, use_chunking=False, index_types=IndexType.NONE)
    with pytest.raises(BagError, match=rf'not in timestamp order.*sage record --repair {path}'):
        numbers(path)
    repair(path)
    assert_whole(path)


def test_file_of_another_profile_is_refused_and_repaired(tmp_path):
    path = tmp_path / 'any.mcap'
    write_mcap(path, range(COUNT), profile='')
    with pytest.raises(BagError, match=r"profile is '', not ros2; .*sage record --repair"):
        open_bag(path)
    repair(path)
    assert_whole(path)


def test_file_compressed_with_lz4(tmp_path):
    write_mcap(tmp_path / 'any.mcap', range(COUNT))
    (tmp_path / 'b.mcap.lz4').write_bytes(lz4.frame.compress((tmp_path / 'any.mcap').read_bytes()))
    assert_whole(tmp_path / 'b.mcap.lz4')


def test_decompressed_copy_beside_the_file_is_not_read_twice(tmp_path):
    """`ros2 bag play` leaves one."""
    split_bag(tmp_path / 'bag', 1, StoragePlugin.MCAP, CompressionMode.FILE)
    (file,) = storage_files(tmp_path / 'bag')
    storage._decompress(file, file.with_suffix(''))
    assert_whole(tmp_path / 'bag')


def test_decompression_does_not_fill_the_disk(tmp_path, monkeypatch):
    split_bag(tmp_path / 'bag', 1, StoragePlugin.SQLITE3, CompressionMode.FILE)
    usage = shutil.disk_usage(tmp_path)._replace(free=storage.RESERVED_BYTES + 1000)
    monkeypatch.setattr(storage.shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(BagError, match=r'bag_0.db3.zstd needs more space .* set TMPDIR'):
        open_bag(tmp_path / 'bag')


def test_files_are_read_in_the_order_of_their_times(tmp_path):
    names = [f'bag_{part}.mcap' for part in range(12)]
    for part, name in enumerate(names):
        write_mcap(tmp_path / name, range(part, 24, 12))  # all files overlap
    with open_bag(tmp_path) as bag:
        times = [message.log_time_ns for message in bag]
        assert times == [START + index * STEP for index in range(24)]
        part = bag.messages(['/cam0/image_raw'], START + 5 * STEP, START + 8 * STEP)
        assert [m.log_time_ns for m in part] == times[5:8]
    assert [file.name for file in storage_files(tmp_path)] == names


@pytest.mark.parametrize('readable', [True, False])
def test_changes_in_the_log_of_sqlite_are_read(tmp_path, readable, monkeypatch):
    live = write_part(tmp_path / 'whole', range(COUNT), StoragePlugin.SQLITE3)
    with sqlite3.connect(live) as connection:
        connection.execute('PRAGMA journal_mode = WAL')
        late = connection.execute('SELECT * FROM messages WHERE id > 3').fetchall()
        connection.execute('DELETE FROM messages WHERE id > 3')
        connection.commit()
        connection.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        connection.executemany('INSERT INTO messages VALUES (?, ?, ?, ?)', late)
        connection.commit()
        folder = tmp_path / 'live'
        folder.mkdir()
        for file in live.parent.glob('*.db3*'):
            shutil.copy(file, folder)
    connection.close()
    if not readable:  # as in a folder without permission to write
        monkeypatch.setattr(storage.sqlite3, 'connect', refuse_read_only(storage.sqlite3.connect))
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert_whole(folder)
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {n: d for n, d in after.items() if 'shm' not in n} == {
        n: d for n, d in before.items() if 'shm' not in n
    }


def refuse_read_only(connect):
    def connect_or_refuse(path, **options):
        if options.get('uri'):
            raise sqlite3.OperationalError('unable to open database file')
        return connect(path, **options)

    return connect_or_refuse


def test_parts_that_are_missing_are_noted(tmp_path):
    split_bag(tmp_path / 'bag', 3, StoragePlugin.MCAP)
    (tmp_path / 'bag' / 'bag_1.mcap').unlink()
    assert numbers(tmp_path / 'bag') == [*range(10), *range(20, 30)]
    with open_bag(tmp_path / 'bag') as bag:
        assert bag.notes == [
            f'{tmp_path}/bag/metadata.yaml names bag_1.mcap, which is missing',
        ]


@pytest.mark.parametrize(
    ('name', 'data', 'reason'),
    [
        ('empty.mcap', b'', 'empty.mcap is empty because its recorder was killed .*remove it'),
        ('text.mcap', b'text', 'text.mcap was not closed .*sage record --repair'),
        ('text.db3', b'text' * 300, 'text.db3 cannot be read as a bag: .*not a database'),
        ('empty.db3', b'', 'empty.db3 is empty'),
        ('text.mcap.zstd', b'text', 'text.mcap.zstd cannot be read as a bag: .'),
        ('text.db3.zstd', b'', 'is empty'),
        ('old.bag', b'#ROSBAG V2.0\n', 'is a bag of ROS 1: convert it with .*rosbags-convert'),
        ('bag.txt', b'', 'is not a bag: pass a bag directory, an .mcap or a .db3 file'),
        ('._bag.mcap', b'\0\5\x16\7', 'is not a bag'),
    ],
)
def test_other_files_are_refused_with_the_fix(tmp_path, name, data, reason):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BagError, match=reason) as error:
        open_bag(tmp_path / name)
    assert '\n' not in str(error.value)


def test_folder_without_a_bag_is_refused(tmp_path):
    (tmp_path / 'notes.txt').write_text('')
    with pytest.raises(BagError, match='is not a bag: pass a bag directory'):
        open_bag(tmp_path)
    with pytest.raises(BagError, match='none does not exist'):
        open_bag(tmp_path / 'none')


def test_malformed_database_is_refused_with_the_fix(tmp_path):
    file = write_part(tmp_path / 'bag', range(COUNT), StoragePlugin.SQLITE3)
    data = bytearray(file.read_bytes())
    data[100:4000] = bytes(3900)
    file.write_bytes(data)
    with pytest.raises(BagError, match=r'malformed; recover .*: sqlite3 .*bag.db3 .recover'):
        open_bag(tmp_path / 'bag')


@pytest.mark.parametrize('compression', list(CompressionType))
def test_repair_keeps_whole_messages_of_a_cut_chunk(tmp_path, compression):
    whole = tmp_path / 'whole.mcap'
    writer = mcap.writer.Writer(str(whole), compression=compression, chunk_size=1 << 30)
    writer.start('ros2')
    definition = STORE.generate_msgdef(IMAGE, ros_version=2)[0].encode()
    channel = writer.register_channel(
        '/cam0/image_raw', 'cdr', writer.register_schema(IMAGE, 'ros2msg', definition)
    )
    rng = np.random.default_rng(0)
    noise = [bytes(image(index)) + rng.bytes(20_000) for index in range(COUNT)]
    for index, data in enumerate(noise):
        writer.add_message(channel, START + index * STEP, data, START)
    writer.finish()
    data = whole.read_bytes()
    (tmp_path / 'cut.mcap').write_bytes(data[: int(len(data) * 0.6)])
    before = (tmp_path / 'cut.mcap').read_bytes()
    result = repair(tmp_path / 'cut.mcap')
    assert result.damaged == 1
    (original,) = result.originals
    assert original == tmp_path / f'cut.mcap{ORIGINAL_SUFFIX}'
    assert original.read_bytes() == before
    with open_bag(tmp_path / 'cut.mcap') as bag:
        kept = [message.data for message in bag]
    assert kept == noise[: len(kept)]
    # Compressions lose the last block of up to 128 KB.
    assert (17 if compression == CompressionType.NONE else 10) <= len(kept) <= 18


def test_repair_leaves_out_a_damaged_chunk_and_keeps_the_next(tmp_path):
    path = tmp_path / 'any.mcap'
    write_mcap(path, range(COUNT), CompressionType.ZSTD)
    with path.open('rb') as stream:
        chunk = make_reader(stream).get_summary().chunk_indexes[2]
    data = bytearray(path.read_bytes())
    place = chunk.chunk_start_offset + chunk.chunk_length // 2
    data[place : place + 8] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(BagError, match=rf'sage record --repair {path}'):
        numbers(path)
    assert repair(path).damaged == 1
    kept = numbers(path)
    assert 20 <= len(kept) < COUNT
    assert kept == sorted(kept)
    assert kept[-1] == COUNT - 1


def test_repair_of_a_split_bag_rewrites_what_is_damaged(tmp_path):
    split_bag(tmp_path / 'bag', 3, StoragePlugin.MCAP)
    last = tmp_path / 'bag' / 'bag_2.mcap'
    last.write_bytes(last.read_bytes()[:-400])
    (tmp_path / 'bag' / 'metadata.yaml').unlink()
    with pytest.raises(BagError, match=rf'{last} was not closed .*--repair {tmp_path}/bag"'):
        open_bag(tmp_path / 'bag')
    result = repair(tmp_path / 'bag')
    assert result.originals == (last.with_name('bag_2.mcap.original'),)
    assert_whole(tmp_path / 'bag')
    info = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())
    info = info['rosbag2_bagfile_information']
    assert (info['message_count'], info['duration']['nanoseconds']) == (COUNT, 29 * STEP)
    assert [file['message_count'] for file in info['files']] == [10, 10, 10]
    with pytest.raises(BagError, match='is complete: there is nothing to repair'):
        repair(tmp_path / 'bag')


def test_repair_writes_a_damaged_index_again(tmp_path):
    path = tmp_path / 'any.mcap'
    write_mcap(path, range(COUNT))
    data = bytearray(path.read_bytes())
    data[data.rindex(b'string encoding')] = 0xFF  # the definition in the index is not UTF-8
    path.write_bytes(data)
    with pytest.raises(BagError, match=rf'cannot be read as a bag: .*sage record --repair {path}'):
        open_bag(path)
    assert repair(path).damaged == 0
    assert_whole(path)


def test_repair_checks_the_checksum_of_the_index(tmp_path):
    """A wrong count in the index is valid MCAP: only the checksum shows it."""
    path = tmp_path / 'any.mcap'
    write_mcap(path, range(COUNT))
    with pytest.raises(BagError, match='is complete: there is nothing to repair'):
        repair(path)
    data = bytearray(path.read_bytes())
    with path.open('rb') as stream:
        count = make_reader(stream).get_summary().statistics.message_count
    where = data.rindex(count.to_bytes(8, 'little'))
    data[where : where + 8] = (count + 1).to_bytes(8, 'little')
    path.write_bytes(data)
    assert repair(path).damaged == 0
    assert_whole(path)


def test_index_without_a_checksum_is_accepted(tmp_path):
    path = tmp_path / 'any.mcap'
    write_mcap(path, range(COUNT))
    data = bytearray(path.read_bytes())
    data[-12:-8] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(BagError, match='is complete: there is nothing to repair'):
        repair(path)


def test_repair_without_an_intact_message_changes_nothing(tmp_path):
    path = tmp_path / 'any.mcap'
    write_mcap(path, range(COUNT))
    path.write_bytes(path.read_bytes()[:60])
    before = path.read_bytes()
    with pytest.raises(BagError, match='it has no intact message'):
        repair(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ['any.mcap']


@pytest.mark.parametrize('plugin', list(StoragePlugin))
@pytest.mark.parametrize('mode', [CompressionMode.NONE, CompressionMode.MESSAGE])
def test_mutated_files_are_read_or_a_bag_error(tmp_path, plugin, mode):
    """Random damage for two seconds, with seeds that are named on failure."""
    file = write_part(tmp_path / 'bag', range(COUNT), plugin, mode)
    whole = file.read_bytes()
    until, seed = time.monotonic() + 2, 0
    while time.monotonic() < until:
        file.write_bytes(damaged(whole, seed, cut=0.2))
        text = ''
        try:
            with open_bag(tmp_path / 'bag') as bag:
                for message in bag:
                    to_bgr(bag.decode(message.topic, message.data))
        except ValueError as error:  # also of an image that does not fit its fields
            text = str(error)
        assert '\n' not in text, seed
        seed += 1
    assert seed > 5
