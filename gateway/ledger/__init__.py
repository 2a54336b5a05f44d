"""What is known, durable: studies, instances, jobs, deliveries, quarantine and their timeline (SQLite)."""
