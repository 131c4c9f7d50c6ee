# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Codes and things in a store: they belong to records, are searched by words, and go with them."""

import contextlib
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from memories import DIM, SECOND, SPACE, START, lct, memory_record, numbers

from sage_perception.codecs.directions import pack_direction, unpack_direction
from sage_perception.core.latent import Code, LatentKind, ModelId
from sage_perception.memory import EpisodicMemory, Query, open_store
from sage_perception.memory.query import Basis
from sage_perception.memory.thing_table import Event, TrackRow
from sage_perception.memory.words import WordSearch
from sage_perception.trust.fusion.comparison import Comparison, View

WORDS = ModelId('words', '1', b'w' * 32)
NOUNS = {'car': np.eye(4)[0], 'dog': np.eye(4)[1]}


def semantic(noun, kind=LatentKind.SEMANTIC, model=WORDS):
    return Code(kind, model, 2, pack_direction(NOUNS[noun]), 200)


class Texts:
    """A sentence encoder that knows two nouns."""

    semantic_space = WORDS.fingerprint

    def text(self, texts):
        return np.float32([NOUNS[text.split()[-1]] for text in texts])

    def encode(self, images):
        """Return the code of the noun whose image is bright or dark."""
        bright = images.mean((1, 2, 3)) > 128
        return np.float32([NOUNS['car'] if each else NOUNS['dog'] for each in bright])


class Decoder:
    """Decodes a latent to an image of one color: red if its first value is above the mean."""

    id = SPACE.model
    latent_shape = (DIM,)

    def decode(self, z):
        images = np.zeros((len(z), 3, 8, 8), np.float32)
        images[:, 0] = 0.9
        images[z[:, 0] <= SPACE.mean[0]] = np.float32([0.1, 0.1, 0.9])[:, None, None]
        return images


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'memory.db'


@pytest.fixture
def store(path):
    with open_store(path, SPACE) as store:
        yield store


def with_codes(record, *codes):
    return replace(record, codes=codes)


def found(store, noun, query=None):
    space = WORDS.fingerprint
    return store.nearest_codes(query or Query(), NOUNS[noun], space, int(LatentKind.SEMANTIC))[0]


def test_records_are_found_by_their_codes(path):
    with open_store(path, SPACE) as store:
        store.add(
            [
                with_codes(memory_record(1), semantic('car')),
                with_codes(memory_record(2, at_s=5), semantic('dog')),
                memory_record(3),
            ]
        )
        store.commit()
    with open_store(path, SPACE, create=False) as store:
        hits = found(store, 'car')
        assert numbers(hits) == [1, 2]
        assert [hit.similarity for hit in hits] == pytest.approx([1, 0], abs=1e-6)
        assert {hit.basis for hit in hits} == {Basis.CODE}
        assert numbers(found(store, 'car', Query(since_ns=START + SECOND))) == [2]
        assert found(store, 'car', Query(entity='cam7')) == []
        assert store.extra_counts()[0] == {'semantic': 2}


def test_codes_of_another_space_or_kind_are_not_compared(store):
    other = semantic('car', model=ModelId(fingerprint=b'x' * 32))
    store.add([with_codes(memory_record(1), other), with_codes(memory_record(2))])
    store.attach_codes('cam0', 1, [semantic('car', LatentKind.IDENTITY)], START)
    assert found(store, 'car') == []


def test_a_code_that_arrives_later_belongs_to_the_recent_records_of_its_track(store):
    first = [memory_record(n, at_s=n, track=1) for n in (1, 2)]
    store.add([*first, memory_record(3, track=2), memory_record(4, at_s=500.0, track=1)])
    assert store.attach_codes('cam0', 1, [semantic('dog')], START + 3 * SECOND) == 2
    assert store.attach_codes('cam0', 1, [semantic('car')], START + 4 * SECOND) == 0
    assert store.attach_codes('cam1', 1, [semantic('car')], START) == 0
    assert sorted(numbers(found(store, 'dog'))) == [1, 2]


class ByCode:
    """Compares the codes of LCTs: 8 for equal ones, -8 for others."""

    def view(self, camera, lcts):
        return View(np.stack([unpack_direction(each.latent.codes[0].payload) for each in lcts]))

    def compare(self, a, b):
        ratio = 16.0 * (a.latents @ b.latents.T > 0.9) - 8
        return Comparison(ratio, ratio, ratio, ratio)


def test_things_that_come_back_are_compared_with_the_codes_of_their_tracks(store):
    memory = EpisodicMemory(store, threshold=0.0, min_novelty=0.0, comparer=ByCode())
    number = 0
    for track, noun, start_s in ((1, 'dog', 0), (2, 'car', 0), (3, 'dog', 30)):
        for step in range(6):
            number += 1
            seen = lct(number, at_s=start_s + step, track=track)
            if step == 1:  # not the last LCT before the comparison
                code = semantic(noun, LatentKind.IDENTITY)
                seen = replace(seen, latent=replace(seen.latent, codes=(code,)))
            memory.observe([seen])
    things = [memory.things.thing('cam0', track) for track in (1, 2, 3)]
    assert things[0] == things[2] != things[1]


def test_a_code_does_not_belong_to_an_earlier_track_with_the_same_number(store):
    memory = EpisodicMemory(store, threshold=0.0, min_novelty=0.0)
    coded = lct(3, at_s=11)
    coded = replace(coded, latent=replace(coded.latent, codes=(semantic('dog'),)))
    for each in (lct(1, at_s=1), lct(2, at_s=10), coded):
        memory.observe([each])
    assert sorted(numbers(found(store, 'dog'))) == [2, 3]


def test_an_episodic_memory_gives_records_the_last_codes_of_their_track(store):
    memory = EpisodicMemory(store, threshold=0.0, min_novelty=0.0)
    coded = lct(1, at_s=0)
    coded = replace(coded, latent=replace(coded.latent, codes=(semantic('dog'),)))
    memory.note_codes([coded])
    memory.observe([lct(2, at_s=1), lct(3, at_s=1, track=2)])
    assert numbers(found(store, 'dog')) == [2]


def test_forgotten_and_displaced_records_take_their_codes_and_things_with_them(path):
    with open_store(path, SPACE, capacity=1) as store:
        store.add([with_codes(memory_record(n, at_s=n, track=n), semantic('car')) for n in (1, 2)])
        rows = [TrackRow('cam0', n, START, START + 9 * SECOND, 100 + n) for n in (1, 2)]
        store.save_things(rows, [Event(START, 'merge', 101, 7, 6.0, 'x')])
        assert store.commit().forgotten == 1
        codes, things = store.extra_counts()
        assert (codes, things['things'], things['merges']) == ({'semantic': 1}, 1, 0)
        store.forget(Query(entity='cam0'))
        codes, things = store.extra_counts()
        assert (codes, things['things']) == ({}, 0)


def test_a_full_store_prunes_once_for_several_displaced_records(path):
    with open_store(path, SPACE, capacity=200) as store:
        counts = []
        for numbers in (range(201), [201], [202]):
            store.add([with_codes(memory_record(n, at_s=n), semantic('car')) for n in numbers])
            assert store.commit().forgotten == 1
            counts.append(store.extra_counts()[0]['semantic'])
    assert counts == [201, 200, 201]


def test_hits_have_their_things_and_the_evidence(store):
    store.add([memory_record(1), memory_record(2, at_s=20)])
    row = TrackRow('cam0', 1, START, START + 5 * SECOND, 42)
    events = [
        Event(START, 'merge', 42, 43, 6.5, 'two cameras agree'),
        Event(START + 1, 'split', 42, 43, -0.5, 'in one frame'),
    ]
    store.save_things([row], events)
    first, second = sorted(store.with_things(store.find(Query())), key=lambda h: h.record.lct.id)
    assert first.thing == 42
    assert first.evidence == 'split (-0.5): in one frame; merge (+6.5): two cameras agree'
    assert (second.thing, second.evidence) == (0, '')
    assert numbers(store.find(Query(thing=42))) == [1]
    like = first.record.lct.latent.mean
    assert numbers(store.find(Query(like=like, thing=42))) == [1]
    assert store.find(Query(like=like, thing=9)) == []
    store.save_things([row._replace(thing=44)], [])
    assert numbers(store.find(Query(thing=44))) == [1]


@pytest.mark.parametrize('thing', [0, -1, 2**63])
def test_a_thing_is_a_positive_number(thing):
    with pytest.raises(ValueError, match='thing'):
        Query(thing=thing)


def test_a_memory_of_an_earlier_release_is_read_and_extended(path):
    with open_store(path, SPACE) as store:
        store.add([memory_record(1)])
        store.commit()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for table in ('codes', 'tracks', 'events'):
            db.execute(f'DROP TABLE sage_memory_{table}')
    with open_store(path, SPACE, create=False) as store:
        assert found(store, 'car') == []
        assert numbers(store.with_things(store.find(Query()))) == [1]
        assert store.extra_counts()[1] == {'things': 0, 'merges': 0, 'splits': 0}
        with pytest.raises(ValueError, match='no things'):
            store.find(Query(thing=3))
    with open_store(path, SPACE) as store:
        assert store.attach_codes('cam0', 1, [semantic('dog')], START) == 1


def test_a_damaged_code_is_left_out(path):
    with open_store(path, SPACE) as store:
        store.add([with_codes(memory_record(n), semantic('car')) for n in (1, 2, 3)])
        store.commit()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        [first, second] = db.execute('SELECT lct FROM sage_memory_codes LIMIT 2').fetchall()
        db.execute("UPDATE sage_memory_codes SET code = 'text' WHERE lct = ?", first)
        db.execute('UPDATE sage_memory_codes SET code = ? WHERE lct = ?', (b'\0\0', *second))
    with open_store(path, SPACE) as store:
        assert len(found(store, 'car')) == 1


def search(store, text, **query):
    return WordSearch(Texts(), Decoder(), text).search(store, Query(**query))


def test_a_search_by_words_compares_codes_where_there_are_any(store):
    store.add(
        [
            with_codes(memory_record(1), semantic('dog')),
            with_codes(memory_record(2), semantic('car')),
            memory_record(3),
        ]
    )
    result = search(store, 'a car', count=1)
    assert numbers(result.hits) == [2]
    assert (result.by_codes, result.compared, result.without_code) == (True, 2, 1)


def test_all_records_that_match_are_counted(store):
    codes = {n: [semantic('car')] * (n < 1100) for n in range(2300)}
    store.add([with_codes(memory_record(n, at_s=n), *some) for n, some in codes.items()])
    result = search(store, 'a car', until_ns=START + 2249 * SECOND)
    assert len(result.hits) == 10
    assert (result.compared, result.without_code) == (1100, 1150)


def test_a_color_is_that_of_the_latent_and_the_noun_that_of_the_code(store):
    red, blue = SPACE.mean + np.eye(DIM)[0] * 9, SPACE.mean - np.eye(DIM)[0] * 9
    latents = {1: red, 2: blue, 3: red, 4: blue}
    nouns = {1: 'car', 2: 'car', 3: 'dog', 4: 'dog'}
    store.add([with_codes(memory_record(n, z), semantic(nouns[n])) for n, z in latents.items()])
    assert numbers(search(store, 'a red car', count=1).hits) == [1]
    assert numbers(search(store, 'blue dog', count=1).hits) == [4]


def test_words_and_an_image_add_up(store):
    latents = {n: SPACE.mean + np.eye(DIM)[n] for n in (1, 2)}
    store.add([with_codes(memory_record(n, z), semantic('car')) for n, z in latents.items()])
    best = search(store, 'car', like=np.float32(latents[2])).hits[0]
    assert numbers([best]) == [2]
    assert best.similarity == pytest.approx(2, abs=1e-3)


def test_without_codes_decoded_latents_are_compared(store):
    store.add([memory_record(1), memory_record(2)])
    result = search(store, 'a dog')
    assert not result.by_codes
    assert {hit.basis for hit in result.hits} == {Basis.DECODED}
    assert (result.compared, result.without_code) == (2, 2)


def test_a_search_decodes_a_bounded_number_of_records(store):
    # In a node that anyone may ask, 1000 records took five seconds.
    store.add([memory_record(n, at_s=n) for n in range(30)])
    limited = WordSearch(Texts(), Decoder(), 'a dog', max_decoded=4)
    result = limited.search(store, Query(count=10))
    assert sorted(numbers(result.hits)) == [26, 27, 28, 29], 'the newest ones'
    assert (result.compared, result.without_code) == (4, 30)
