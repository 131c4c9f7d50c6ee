# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Table rows: what is read is a valid record or rejected, and later versions may add values."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memories import DIM, SPACE, lct, memory_record

from sage_perception.core.latent import Latent, Telemetry
from sage_perception.core.lct import Operation, Proof, Provenance
from sage_perception.memory.row import COLUMNS, ENTITY_KEY, check_record, decode_row, encode_row
from sage_perception.memory.validation import DamagedRow

PROOF = Proof(7, 9, 0.5, bytes(32), bytes(64))
RELAY = Provenance(Operation.RELAY, 'arbiter', SPACE.model, bytes(16), 0.5, PROOF)
RECORD = memory_record(1)
RECORD = replace(RECORD, lct=replace(RECORD.lct, provenance=(*RECORD.lct.provenance, RELAY)))
ROW = encode_row(RECORD, 10.0)
DETAIL = json.loads(ROW[COLUMNS.index('detail')])


def row_with(**columns):
    return tuple(columns.get(name, value) for name, value in zip(COLUMNS, ROW, strict=True))


def with_detail(detail):
    return row_with(detail=json.dumps(detail))


def paths(value, path=()):
    """Yield the path of every value in a JSON document."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, child in items:
        yield from paths(child, (*path, key))


def replaced(value, path, new):
    """Return a JSON document with the value at a path replaced."""
    if not path:
        return new
    key, *rest = path
    copy = value.copy()
    copy[key] = replaced(value[key], rest, new)
    return copy


def test_round_trip_keeps_provenance_proofs_and_scores():
    record = decode_row(ROW)
    assert record.lct.provenance == RECORD.lct.provenance
    assert record.lct.provenance[1].proof == PROOF
    assert record.snarc == RECORD.snarc


def test_omits_energies_and_variance():
    telemetry = Telemetry(trust=0.9, energy_trajectory=(3.0,) * 256)
    mean = lct(1).latent.mean
    latent = Latent(mean, mean, model=SPACE.model, telemetry=telemetry)
    record = replace(memory_record(1), lct=lct(1, latent=latent))
    decoded = decode_row(encode_row(record, 10.0)).lct.latent
    assert decoded.telemetry.energy_trajectory == ()
    assert decoded.log_var is None


def test_ignores_what_a_later_version_adds():
    later = json.loads(json.dumps(DETAIL))
    later['telemetry']['energy_per_bit'] = 0.5
    later['snarc'].append(0.25)
    later['provenance'][0].append('note')
    record = decode_row(with_detail(later | {'mood': 'serene'}))
    assert (record.snarc, record.lct.provenance) == (RECORD.snarc, RECORD.lct.provenance)
    assert record.lct.latent.telemetry.trust == RECORD.lct.latent.telemetry.trust


def test_reads_early_rows_without_signature_and_proofs():
    early = {key: value for key, value in DETAIL.items() if key != 'signed'}
    early['provenance'] = [step[:5] for step in early['provenance']]
    record = decode_row(with_detail(early))
    assert record.lct.signature == b''
    assert [step.proof for step in record.lct.provenance] == [None, None]


@pytest.mark.parametrize('wrong', [1e308, -1, 2**64, True, 'x', [], [None] * 5, {}], ids=repr)
def test_a_wrong_value_anywhere_is_rejected_or_fits_a_message(wrong):
    for path in paths(DETAIL):
        try:
            record = decode_row(with_detail(replaced(DETAIL, path, wrong)))
        except DamagedRow:
            continue
        check_record(record)
        numbers = [record.lct.trust, *(step.trust for step in record.lct.provenance)]
        assert all(type(number) is float for number in numbers)
        assert type(record.lct.sequence) is int


@pytest.mark.parametrize(
    ('path', 'wrong', 'reason'),
    [
        (('model', 1), 1e308, r'model version is 1e\+308, expected text'),
        (('model',), [[]], 'model is .* expected a list of 2 items'),
        (('sequence',), True, 'sequence is True, expected an integer'),
        ((ENTITY_KEY,), None, 'entity_id is None, expected text'),
        ((ENTITY_KEY,), 'x' * 65, '64 bytes'),
        (('kind',), True, 'kind is True, expected a value of LatentKind'),
        (('roi',), [[]], 'roi is .* expected a list of 4 items'),
        (('trust',), None, 'trust is None'),
        (('trust',), 7, 'trust is 7, expected a number from 0 to 1'),
        (('telemetry', 'converged'), [None], 'expected true or false'),
        (('telemetry', 'iterations'), 2**16, 'expected an integer from 0 to 65535'),
        (('telemetry', 'latent_norm'), 10**400, 'expected a finite number'),
        (('telemetry', 'halt_reason'), 99, 'expected a value of HaltReason'),
        (('snarc', 4), None, 'snarc is None'),
        (('snarc',), [0.0] * 4, 'expected a list of 5 items'),
        (('provenance', 0), [], 'expected a list of 5 items'),
        (('provenance', 0, 3), '00', 'expected hexadecimal digits of another length'),
        (('provenance', 1, 5, 3), 'no hex', 'expected hexadecimal digits'),
        (('signed', 1), -1, 'signature is -1, expected text'),
        (('signed', 1), '00' * 65, 'signature is'),
    ],
)
def test_names_the_wrong_value_and_what_was_expected(path, wrong, reason):
    with pytest.raises(DamagedRow, match=reason):
        decode_row(with_detail(replaced(DETAIL, path, wrong)))


@pytest.mark.parametrize(
    ('columns', 'reason'),
    [
        ({'detail': 'no JSON'}, 'detail is not valid JSON'),
        ({'detail': '[' * 100_000}, 'detail is not valid JSON'),
        ({'detail': '[]'}, 'expected an object'),
        ({'detail': '{}'}, 'model is missing'),
        ({'fingerprint': 10**12}, 'fingerprint is 1000000000000, expected 32 bytes'),
        ({'lct': 10**12}, 'expected 16 bytes'),
        ({'stamp': 2**62}, 'stamp is'),
        ({'track': 2**32}, 'track is'),
        ({'latent': b''}, 'latent dimension mismatch'),
        ({'latent': b'odd'}, '3 bytes'),
    ],
)
def test_rejects_a_wrong_column(columns, reason):
    with pytest.raises(DamagedRow, match=reason):
        decode_row(row_with(**columns))


def test_rejects_a_chain_without_room_for_the_recall_step():
    step = DETAIL['provenance'][0]
    with pytest.raises(DamagedRow, match='provenance has 16 steps, expected at most 15'):
        decode_row(with_detail(DETAIL | {'provenance': [step] * 16}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=6) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


@given(st.sampled_from(list(paths(DETAIL))), json_values)
def test_any_json_is_decoded_or_rejected(path, wrong):
    try:
        record = decode_row(with_detail(replaced(DETAIL, path, wrong)))
    except DamagedRow:
        return
    check_record(record)
    assert record.lct.latent.dim == DIM
