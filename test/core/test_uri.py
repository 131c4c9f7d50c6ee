# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""URIs of sources: validation, errors and documentation."""

import re
import shutil

import pytest
from footage import message_of, number_in
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sage_perception.vision import sources
from sage_perception.vision.sources import SourceError, SourceUnavailable, open_source
from sage_perception.vision.sources.uri import OPTIONS, parse_uri


@pytest.mark.parametrize(
    ('uri', 'message'),
    [
        ('http://camera/stream', 'unknown scheme http; use csi, file, images, rtsp, synthetic'),
        ('', 'file:// requires an absolute path'),
        ('file://video.avi', 'three slashes'),
        ('images://folder', 'images:///data/folder'),
        ('csi://front', 'csi://0'),
        ('rtsp:///stream', 'a host'),
        ('v4l2://video0', 'v4l2:///dev/video0'),
        ('synthetic://world', 'only options'),
        ('synthetic://?sed=1', "unknown option 'sed'; use flicker, fps, gain"),
        ('synthetic://?seed', 'seed= is not allowed; it must be an integer from 0'),
        ('synthetic://?seed=1&seed=2', 'seed is given twice'),
        ('synthetic://?fps=nan', 'fps=nan is not allowed; it must be a number from 0.01 to 1000'),
        ('synthetic://?size=640', 'size=640 is not allowed; it must be WIDTHxHEIGHT'),
        ('synthetic://?size=0x0', 'size=0x0 is not allowed'),
        ('synthetic://?roi=1,2,3', 'it must be X,Y,WIDTH,HEIGHT'),
        ('synthetic://?roi=-1,0,64,64', 'roi=-1,0,64,64 is not allowed'),
        ('synthetic://?pace=slow', 'pace=slow is not allowed; it must be realtime or fast'),
        ('synthetic://?lock=wall&pace=fast', 'remove pace=fast'),
        ('synthetic://?objects=64', 'objects is 64; it must be smaller'),
        (
            'synthetic://?pan=60',
            'pan and shake move the roi, which must be smaller than the image',
        ),
        ('synthetic://?pan=60&roi=0,9,640,99', 'smaller than the image of 640x480; add roi='),
        ('synthetic://?shake=2&roi=0,0,640,480', 'pan and shake move the roi'),
        ('v4l2:///dev/video0?pan=60', "unknown option 'pan'"),
        ('synthetic://?loop=true', "unknown option 'loop'"),
        ('file:///x.avi?loop=yes', 'loop=yes is not allowed; it must be true or false'),
        ('file:///nothing/here.avi', '/nothing/here.avi does not exist'),
        ('nothing.avi?fps=30', 'does not exist'),
        ('images:///nothing/here', 'No such file'),
        ('/dev/null', 'camera /dev/null is not a Video4Linux device'),
        ('v4l2:///dev/v4l/by-id/none', '/dev/v4l/by-id/none does not exist; plug it in'),
        ('file:///a%00b', 'control characters'),
        ('file:///a\nb', 'control characters'),
    ],
)
def test_reports_invalid_uri_in_one_line(uri, message):
    found = message_of(uri)
    assert message in found
    assert found.startswith('source ')
    assert '\n' not in found


def test_rejects_what_is_not_footage(tmp_path):
    text = tmp_path / 'text.avi'
    text.write_text('not a video')
    assert 'cannot be decoded' in message_of(str(text))
    assert f'is a folder; use images://{tmp_path} for its images' in message_of(str(tmp_path))
    assert 'contains no images' in message_of(f'images://{tmp_path}')
    (tmp_path / '1.png').write_bytes(b'')
    assert '1.png cannot be decoded as an image, nor' in message_of(f'images://{tmp_path}')


def test_accepts_any_character_in_a_path(video, tmp_path):
    odd = tmp_path / 'what? 100% #1 é.avi'
    shutil.copy(video, odd)
    written = str(odd).replace('%', '%25').replace('?', '%3F')
    with open_source(f'file://{written}?pace=fast') as source:
        assert number_in(source.read(1.0).image) == 0


def test_distinguishes_unavailable_from_invalid():
    assert issubclass(SourceUnavailable, SourceError)
    for uri, kind in (
        ('/nothing.avi', SourceUnavailable),
        ('/dev/video99', SourceUnavailable),
        ('/nothing.avi?fps=x', SourceError),
    ):
        with pytest.raises(SourceError) as caught:
            open_source(uri)
        assert caught.type is kind


option_names = sorted({name for table in OPTIONS.values() for name in table})
odd_values = st.one_of(
    st.text(max_size=8),
    st.integers(-100, 100).map(str),
    st.sampled_from(['nan', 'inf', '1e400', '64x48', '0,0,32,32', 'wall', 'fast', 'true', '٣']),
)
odd_uris = st.one_of(
    st.text(max_size=30),
    st.builds(
        '{}{}?{}'.format,
        st.sampled_from([f'{scheme}://' for scheme in OPTIONS] + ['', '/dev/', 'ftp://']),
        st.one_of(st.just(''), st.text(max_size=10)),
        st.lists(st.builds('{}={}'.format, st.sampled_from(option_names), odd_values)).map(
            '&'.join
        ),
    ),
)


@settings(deadline=None, max_examples=200)
@example('file://\ud800')
@example('rtsp://[')
@example('/' + 'x' * 5000)
@given(odd_uris)
def test_any_text_gives_a_source_or_a_source_error(uri):
    message = 'source '
    try:
        parsed = parse_uri(uri)
        # Do not connect to random hosts and devices.
        if parsed.scheme != 'rtsp' and not parsed.path.startswith('/dev/'):
            open_source(uri).close()
    except SourceError as error:
        message = str(error)
    assert message.startswith('source ')


@pytest.mark.parametrize('scheme', OPTIONS)
def test_documents_every_option(scheme):
    rows = sources.__doc__.partition('Options follow')
    cell = re.search(rf'`{scheme}://.*?(?=\n`|\n=)', rows[0], re.DOTALL)[0]
    for name in OPTIONS[scheme]:
        everywhere = f'`{name}=' in rows[2]
        assert everywhere or re.search(rf'\b{name}\b', cell), name
