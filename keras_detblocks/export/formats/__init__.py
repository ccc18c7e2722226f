"""One file per format: writes it, then opens and compares it."""
