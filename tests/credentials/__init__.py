"""Tests of the credentials file and its objects."""
