"""Threads that are woken by events and by time, and how each of them tries again."""
