"""Why an object that came in is not filed."""


class NotReadable(Exception):
    """The object cannot be parsed or lacks a UID: a code and a sentence for a person, no patient data."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence

    def __reduce__(self) -> tuple[type["NotReadable"], tuple[str, str]]:
        return type(self), (self.code, self.sentence)


class Damaged(NotReadable):
    """The object can be parsed but contradicts itself or is cut short."""
