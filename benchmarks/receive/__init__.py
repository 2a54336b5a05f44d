"""How fast the listener takes images, beside other receivers."""
