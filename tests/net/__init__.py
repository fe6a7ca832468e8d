"""Tests of the lines: over real sockets on this machine, and in memory."""
