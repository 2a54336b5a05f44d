"""Segmentations that came in: which of them are edited results of ours, and how far they differ."""
