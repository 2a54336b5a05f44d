"""Which of the outside world the configuration names: the store of job folders, AWS."""
