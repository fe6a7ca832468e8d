"""Tests of the codec: Data, declarations of messages, BER."""
