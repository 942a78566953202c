"""Nets, the classifier around them, training, runs and their evaluation."""
