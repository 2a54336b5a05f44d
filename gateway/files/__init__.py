"""Where things lie: names in the data directory, a job's files on this machine and in its job folder."""
