"""What happens, told while it happens: server-sent events."""
