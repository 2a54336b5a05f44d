"""Segmentations that somebody edited: what they say of where they come from, and how far they differ."""
