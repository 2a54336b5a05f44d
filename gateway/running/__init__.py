"""Who computes: runs handed to a queue and followed, and what they left read into the ledger."""
