"""Senders of many small images, for processes of their own: what they cost is not the test's."""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.mutations import Base
from tests.wire import Context, Line, NotAnswered

REJECTED = -1
"""In place of an answer: there was no place, and the sender tried again."""
AGAIN_S = 0.2
IMAGES_A_STUDY = 100
"""Sent over one association."""


def send_studies(address: tuple[str, int], image: Base, studies: range, at_once: int) -> Counter[int]:
    """Send studies of the same image under new UIDs, so many at once; the answers that came."""
    context = (image.sop_class_uid, image.transfer_syntax_uid)

    def send(study: int) -> Counter[int]:
        chance, answers = random.Random(study), Counter[int]()
        one = image.in_another_study(chance)
        with _line(address, context, answers) as line:
            for _ in range(IMAGES_A_STUDY):
                one = one.as_another_instance(chance)
                answers[line.store(context, one.instance_uid, one.content)] += 1
        return answers

    with ThreadPoolExecutor(at_once) as threads:
        return sum(threads.map(send, studies), Counter[int]())


def _line(address: tuple[str, int], context: Context, answers: Counter[int]) -> Line:
    while True:
        try:
            return Line(address, [context])
        except NotAnswered:
            answers[REJECTED] += 1
            time.sleep(AGAIN_S)
