"""Tests of the authority: a CA in a folder."""
