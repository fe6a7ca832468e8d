"""Tests of files with keys: makers' formats, our own, envelopes, generation."""
