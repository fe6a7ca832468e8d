"""Other people's clients against our meter, over TCP, each on its own code path."""
