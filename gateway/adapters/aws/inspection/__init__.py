"""Looks at what the gateway needs of AWS, before the first study: each thing ok, a warning, or a failure.

What is looked at stays as it is, but for a probe object in the bucket, which is removed again. Findings hold
neither keys nor account numbers.
"""
