"""Runs exported files, each in a separate process, and reads the metadata in them."""
