# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Generated speech: words of the synthesizers espeak-ng and flite, with many voices."""
