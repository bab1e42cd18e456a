"""Which setting is best: many configurations of a method, scored on held-out training images."""
