"""The open port: who may come in."""
