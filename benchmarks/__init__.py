"""Every claim of speed, measured beside the peer in one run; README.md says how and what came out."""
