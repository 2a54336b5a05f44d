"""Telling people: what happens goes to whom it concerns, by webhook and e-mail, and nothing of a patient."""
