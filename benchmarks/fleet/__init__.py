"""A simulation of machines at AWS Batch: what a study costs, and when its result is there."""
