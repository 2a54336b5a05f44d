"""What machines ask: does it live, is it ready, what does it count."""
