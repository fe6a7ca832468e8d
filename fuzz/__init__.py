"""Long fuzzing by a plain loop: every decoder, and the meter's end of a conversation (`make fuzz`)."""
