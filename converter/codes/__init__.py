"""Codes and label tables as one data file, the script that makes it, and our corrections."""
