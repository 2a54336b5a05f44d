"""Whoever can be told something: one file a kind."""
