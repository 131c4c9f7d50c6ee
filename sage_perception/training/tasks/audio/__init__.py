# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of models of sound, family `audio` (`docs/audio.md`)."""
