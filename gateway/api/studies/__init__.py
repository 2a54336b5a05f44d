"""Studies, jobs and deliveries: lists, one of each, where it stands, what happened."""
