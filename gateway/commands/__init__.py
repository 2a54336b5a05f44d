"""What the command `iris` can do: one file a trade; each imports what it needs when it runs."""
