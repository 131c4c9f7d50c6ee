# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The check of a built site: missing targets, missing anchors, resources of other hosts."""

import sys

from documents import ROOT

sys.path.insert(0, str(ROOT / 'tools'))
from site_links import external_links, faults


def site(folder, **files):
    for name, text in files.items():
        (folder / f'{name}.html').write_text(text)
    return folder


def test_complete_site_has_no_faults(tmp_path):
    (tmp_path / 'style.css').touch()
    site(
        tmp_path,
        index='<link rel="stylesheet" href="style.css?v=1"><a href="other.html#part">x</a>'
        '<a href="#top">y</a><h1 id="top"></h1><a href="https://example.org">z</a>',
        other='<h2 id="part"></h2><a href="index.html">x</a><img src="data:image/png;base64,AA">',
    )
    assert faults(tmp_path) == []
    assert external_links(tmp_path) == ['https://example.org']


def test_missing_targets_and_anchors_are_faults(tmp_path):
    site(
        tmp_path,
        index='<a href="gone.html">x</a><a href="other.html#gone">y</a><img src="gone.png">'
        '<a href="#gone">z</a>',
        other='',
    )
    assert faults(tmp_path) == [
        'index.html: gone.html does not exist',
        'index.html: other.html#gone has no such anchor',
        'index.html: #gone has no such anchor',
        'index.html: gone.png does not exist',
    ]


def test_resources_of_other_hosts_are_faults(tmp_path):
    site(
        tmp_path,
        index='<script src="https://cdn.example.org/a.js"></script>'
        '<link rel="preload stylesheet" href="//fonts.example.org/b.css">'
        '<img src="http://example.org/c.png"><link rel="canonical" href="https://example.org/d">',
    )
    assert faults(tmp_path) == [
        'index.html: https://cdn.example.org/a.js is loaded from another host',
        'index.html: //fonts.example.org/b.css is loaded from another host',
        'index.html: http://example.org/c.png is loaded from another host',
    ]


def test_templates_of_the_theme_are_not_pages(tmp_path):
    folder = tmp_path / '_static'
    folder.mkdir()
    site(folder, macros='<a href="{{ pathto }}">x</a>')
    assert faults(tmp_path) == []
