"""Tests of the concentrator."""
