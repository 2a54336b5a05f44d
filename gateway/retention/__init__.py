"""What is removed from here: by age, for room, and on request."""
