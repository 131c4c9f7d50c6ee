# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Codes of contexts: provenance, trust, and the packer of their latents."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sage_perception.core.latent import Latent, LatentKind, Roi, Telemetry
from sage_perception.core.lct import LCT, Operation
from sage_perception.models import ModelError, load_compressor
from sage_perception.pipeline.context_encoder import ContextEncoder
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.limits import MAX_CHAIN
from sage_perception.trust.security.validation import find_chain_fault, find_fault

STAMP_NS = 10**15
SIZE = (640, 480)


@pytest.fixture(scope='module')
def compressor():
    return load_compressor('h_to_l_hybrid', backend='onnxruntime')


def lct(compressor, track, trust=0.8):
    latent = Latent(
        (compressor.space_mean + 0.01 * track).astype(np.float32),
        model=compressor.latents,
        roi=Roi(20 * track, 50, 64, 64),
        track_id=track,
        telemetry=Telemetry(trust, 0.01, 2.0, 4.0),
    )
    return LCT.encoded(latent, entity_id='cam0', sequence=track, stamp_ns=STAMP_NS)


def encode(compressor, lcts):
    encoder = ContextEncoder(compressor, ['cam0'])
    encoder.builder.add_frame('cam0', STAMP_NS * 1e-9, SIZE, lcts)
    return encoder, encoder.encode(STAMP_NS, Identity('compressor', start=1))


def test_an_empty_context_has_no_code(compressor):
    assert encode(compressor, [])[1].lct is None


def test_a_code_is_that_of_the_compressor(compressor):
    _, encoded = encode(compressor, [lct(compressor, 1), lct(compressor, 2)])
    context, code = encoded.context, encoded.lct
    expected = compressor.compress(context.values[None], context.mask[None])[0]
    assert np.array_equal(code.latent.mean, expected)
    assert code.latent.kind is LatentKind.L_CONTEXT
    assert (code.entity_id, code.sequence, code.stamp_ns) == ('compressor', 1, STAMP_NS)


def test_refined_latents_cost_a_code_nothing_of_its_context(compressor):
    plain = [lct(compressor, track) for track in range(1, 9)]
    refined = [
        replace(
            each,
            latent=replace(
                each.latent, telemetry=replace(each.latent.telemetry, budget_spent=20.0)
            ),
        )
        for each in plain
    ]
    retained = [encode(compressor, lcts)[0].retained for lcts in (plain, refined)]
    assert retained[1] > retained[0] - 0.1


def test_provenance_names_the_lcts_of_the_context(compressor):
    first, second = lct(compressor, 1), lct(compressor, 2)
    code = encode(compressor, [first, second])[1].lct
    operations = [step.operation for step in code.provenance]
    assert operations == [Operation.ENCODE, Operation.COMPRESS, Operation.COMPRESS]
    assert [step.parent_id for step in code.provenance[1:]] == [first.id, second.id]
    assert find_fault(code, 256) is None
    assert find_chain_fault(code) is None


def test_provenance_of_many_items_fits_into_a_chain(compressor):
    code = encode(compressor, [lct(compressor, track) for track in range(1, 25)])[1].lct
    assert len(code.provenance) == MAX_CHAIN


def test_trust_is_lowered_by_the_loss_and_by_less_trusted_items(compressor):
    encoder, encoded = encode(compressor, [lct(compressor, 1, trust=0.8)])
    assert 0 < encoder.retained <= 1
    assert encoded.lct.trust == pytest.approx(0.8 * encoder.retained)
    encoder, encoded = encode(
        compressor, [lct(compressor, 1, trust=0.8), lct(compressor, 2, trust=0.4)]
    )
    assert encoded.lct.trust == pytest.approx(0.6 * encoder.retained)


def test_an_untrusted_context_has_an_untrusted_code(compressor):
    assert encode(compressor, [lct(compressor, 1, trust=0.0)])[1].lct.trust == 0


def test_rejects_a_compressor_of_another_layout(compressor):
    other = SimpleNamespace(id=compressor.id, layout=2)
    with pytest.raises(ModelError, match=r'layout 2 .* train the compressor again'):
        ContextEncoder(other)
