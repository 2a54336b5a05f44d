"""What happens to one object: brought to the disk, read, and filed, or refused."""
