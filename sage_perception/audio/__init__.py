# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sound: sources, spectrograms, voice activity and direction (`docs/audio.md`)."""
