"""Keys over their lives, as pure rules: kinds, states, rotation, counters, trust in certificates."""
