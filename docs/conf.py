# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration of the documentation site; `make docs` builds it."""

from __future__ import annotations

from typing import Any

import sage_perception

project = 'sage'
author = 'The sage authors'
copyright = f'2026 {author}'
version = release = sage_perception.__version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
exclude_patterns = ['_static']

myst_heading_anchors = 4
myst_links_external_new_tab = False
# Without this, quotes and the -- of options become typographic characters.
smartquotes = False

# Docstrings mark code with single backticks.
default_role = 'code'
napoleon_use_ivar = True
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
autodoc_typehints_format = 'short'
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
add_module_names = False
autodoc_default_options = {'members': True}
# Fields of several classes have the same name; a link in an annotation may take either.
suppress_warnings = ['ref.python']

html_title = f'sage {release}'
html_theme = 'pydata_sphinx_theme'
html_static_path = ['_static']
html_css_files = ['site.css']
html_favicon = '_static/sage.svg'
html_context = {'default_mode': 'auto'}
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    'logo': {'text': 'sage', 'image_light': '_static/sage.svg', 'image_dark': '_static/sage.svg'},
    'navbar_align': 'left',
    'header_links_before_dropdown': 6,
    'show_toc_level': 2,
    'navigation_with_keys': False,
    'footer_start': ['copyright'],
    'footer_end': ['theme-version'],
}


def parsable(
    app: Any,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Return a signature of autodoc in a form that Sphinx can parse and wrap.

    Defaults of dataclass fields that a factory makes are shown as `<factory>`, which is no
    expression.
    """
    return signature and signature.replace('<factory>', '...'), returns


def setup(app: Any) -> None:
    """Connect the hooks of this file."""
    app.connect('autodoc-process-signature', parsable)
