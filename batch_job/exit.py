"""How a run ended, left in its folder as `exit.json` for whoever started it and may be gone by then."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from .contract import EXIT_DONE, EXIT_NAME, RunExit
from .errors import ComeBackLater, meaning_of
from .interruption import Interruption
from .place import JobPlace


@contextmanager
def exit_left(place: JobPlace, run: int, interruption: Interruption) -> Iterator[None]:
    """Leave word of how what is done here ends; what an earlier run left is removed first.

    Where no word can be left, on a full disk, it ends all the same.
    """
    has_ended = False

    def leave(code: int, sentence: str) -> None:
        nonlocal has_ended
        if has_ended:  # an interruption waited for the word that was being left
            return
        has_ended = True
        word = RunExit(run=run, code=code, sentence=sentence, at=datetime.now(UTC))
        with contextlib.suppress(OSError, ComeBackLater):
            place.put(EXIT_NAME, word.to_json())

    place.remove(EXIT_NAME)
    with interruption.telling(leave):
        try:
            yield
        except BaseException as error:
            with interruption.finishing_first():
                leave(*meaning_of(error))
            raise
        with interruption.finishing_first():
            leave(EXIT_DONE, "")
