"""The outside world behind small protocols: where job folders lie, and who runs the jobs."""
