# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The HTML report as a document; test/browser opens it."""

import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.core.latent import Roi
from sage_perception.reports.html.images import data_uri
from sage_perception.reports.html.plot_data import chart_data, statistics, thinned
from sage_perception.reports.html.render import render, write_report
from sage_perception.reports.html.report import (
    Chart,
    CropImage,
    FrameImage,
    Moment,
    Region,
    Report,
    Series,
    Table,
    Verdict,
)

HOSTILE = '"></script><script>alert(1)</script>\'{{ 7 * 7 }}&amp;<!--'
IMAGE = np.full((48, 64, 3), 90, np.uint8)


class Elements(HTMLParser):
    """The elements of a document, with their attributes."""

    def __init__(self, document: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def report_of(text: str) -> Report:
    """Return a report that contains `text` in every place for text."""
    return Report(
        title=text,
        summary=text,
        verdict=Verdict.FAIL,
        facts=((text, text),),
        tables=(Table(text, (text, 'n'), ((text, 1.5), (text, None)), text),),
        charts=(Chart(text, text, (Series(text, [0.0, 1.0], [1.0, float('nan')]),)),),
        moments=(
            Moment(
                text,
                0.5,
                text,
                (FrameImage(text, IMAGE, (Region(Roi(1, 2, 3, 4), text, True),)),),
                (CropImage(text, IMAGE, IMAGE[..., 0], text),),
            ),
        ),
        environment=((text, text),),
    )


@pytest.mark.parametrize('text', [HOSTILE, '/cam0/<img src=x onerror=alert(1)>', 'javascript:x'])
def test_text_of_a_bag_never_becomes_markup(text):
    plain, hostile = Elements(render(report_of('text'))), Elements(render(report_of(text)))
    # The same elements with the same attribute names, and handlers on none of them.
    names = [[(tag, sorted(attributes)) for tag, attributes in e.found] for e in (plain, hostile)]
    assert names[0] == names[1]
    assert not [a for _, attributes in hostile.found for a in attributes if a.startswith('on')]
    # Links and images refer only to parts of the document and to data.
    for _, attributes in hostile.found:
        for value in (attributes.get('href'), attributes.get('src')):
            assert value is None or value.startswith(('#', 'data:'))
    assert text in hostile.text


def test_document_refers_to_nothing_outside():
    document = render(report_of('text'))
    assert not re.findall(r'(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z]', without_data(document))
    assert "default-src 'none'" in document


def without_data(document: str) -> str:
    return re.sub(r'data:image/\w+;base64,[\w+/=]+', '', document)


def test_numbers_of_charts_are_in_the_document():
    series = Series('cam0', np.arange(3), np.array([1.0, np.nan, np.inf]))
    document = render(Report('title', charts=(Chart('rate', 'Hz', (series,)),)))
    text = re.search(r'id="report-data">(.*?)</script>', document)[1]
    data = json.loads(html.unescape(text))
    assert data['charts'][0]['series'][0]['t'] == [0, 1, 2]
    assert data['charts'][0]['series'][0]['v'] == [1, None, None]


def test_equal_reports_give_equal_documents():
    assert render(report_of('a')) == render(report_of('a'))


def test_sections_without_content_are_omitted():
    elements = Elements(render(Report('only a title')))
    assert not elements.named('section')
    assert not elements.named('table')
    assert elements.named('h1')


def test_verdict_is_in_the_title_and_the_heading():
    document = render(Report('Replay', verdict=Verdict.PASS))
    assert '<title>Replay: pass</title>' in document
    assert '<span class="verdict pass">PASS</span>' in document


def test_write_creates_the_folder(tmp_path):
    path = tmp_path / 'new' / 'report.html'
    write_report(Report('title'), path)
    assert path.read_text().startswith('<!doctype html>')


def test_series_of_different_lengths_is_rejected():
    with pytest.raises(ValueError, match="series 'cam0' has 2 times and 1 values"):
        Series('cam0', [0, 1], [1])


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(float('nan')), min_size=1, max_size=400),
    st.integers(3, 60),
)
def test_thinning_keeps_extremes_and_stays_within_the_bound(values, most):
    values = np.array(values)
    times, kept = thinned(np.arange(len(values), dtype=float), values, most)
    assert len(times) == len(kept) <= max(most, 3)
    assert np.all(np.diff(times) > 0)
    assert np.array_equal(kept, values[times.astype(int)], equal_nan=True)
    finite = values[np.isfinite(values)]
    if len(finite):
        assert np.nanmin(kept) == finite.min()
        assert np.nanmax(kept) == finite.max()
    assert np.isnan(kept).any() == np.isnan(values).any()


def test_a_report_of_an_hour_is_bounded():
    times = np.arange(0, 3600, 1 / 30)
    chart = Chart('trust', '', (Series('cam0', times, np.sin(times)),))
    assert len(chart_data(chart)['series'][0]['t']) <= 4000
    assert len(render(Report('hour', charts=(chart,)))) < 200_000


def test_statistics_ignore_gaps():
    assert statistics(Series('a', [0, 1, 2], [1, np.nan, 3])) == (2, 1.0, 2.0, 3.0)
    assert statistics(Series('a', [0], [np.nan])) is None


def test_wide_images_are_scaled():
    wide = np.random.default_rng(0).integers(0, 255, (100, 2000, 3)).astype(np.uint8)
    assert len(data_uri(wide, 200)) < len(data_uri(wide, 2000)) / 20


@pytest.mark.parametrize(
    'array',
    [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_arrays_that_are_no_images_are_rejected(array):
    with pytest.raises(ValueError, match='image'):
        data_uri(array, 100)
