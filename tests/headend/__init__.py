"""Tests of the head-end."""
