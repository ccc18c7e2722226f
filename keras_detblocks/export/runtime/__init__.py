"""Runs exported files, each in a process of its own, and reads what travels in them."""
