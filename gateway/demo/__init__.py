"""The demo: a real study through the whole gateway and back into a PACS, on one machine."""
