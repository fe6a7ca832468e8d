"""Tests of the dissection of foreign traffic."""
