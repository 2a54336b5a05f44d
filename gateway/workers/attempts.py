"""What may go wrong with a piece of work, and when it is tried again."""


class CannotGoOn(Exception):
    """A job cannot be done; one sentence that says why and what to do, without patient data."""
