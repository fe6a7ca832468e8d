"""Tests of the listener: pushes, their keys and counters, and lines that are listened to."""
