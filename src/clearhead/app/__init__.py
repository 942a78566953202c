"""Thin doors: the command line and the demo."""
