"""Judges: networks used to measure, never to train."""
