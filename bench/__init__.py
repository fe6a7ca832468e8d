"""Benchmarks: our speed as ratios to peers and to the bare cryptographic call, in one run (`make bench`)."""
