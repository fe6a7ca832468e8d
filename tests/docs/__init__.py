"""Tests of the documentation: what the pages tell a reader to type does what they say."""
