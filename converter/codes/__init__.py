"""Codes and label tables as data files, and the script that makes them."""
