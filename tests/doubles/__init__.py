"""Doubles of outside services that no peer plays: real protocols, told by tests to misbehave."""
