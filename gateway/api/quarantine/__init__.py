"""What waits for a person: objects that were put aside, and jobs that are held."""
