"""Associations as they are spoken: what pynetdicom does not do itself, and who attends them."""
