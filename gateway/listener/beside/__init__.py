"""Processes beside the gateway's own that serve associations."""
