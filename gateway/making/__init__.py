"""What is made on this machine of a job: the NIfTI, its job folder, and the objects of its result."""
