"""Tests of the framing codecs: vectors, round trips, bounds, and what hostile octets do."""
