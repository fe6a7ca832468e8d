"""Tests of associations in memory: a client and a meter, and what comes between them."""
