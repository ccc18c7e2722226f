"""Whether a written file agrees with Keras."""
