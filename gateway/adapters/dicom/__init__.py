"""Other application entities: associations with them, what they are asked, what is stored there."""
