"""Who sends many small images, and who asks the API meanwhile, each in a process of its own."""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

import httpx

from tests.mutations import Base
from tests.wire import Context, Line, NotAnswered

REJECTED = -1
"""In place of an answer: there was no place, and the sender tried again."""
AGAIN_S = 0.2
IMAGES_A_STUDY = 100
"""Sent over one association."""
PATHS = ("/api/v1/studies?limit=50", "/readyz", "/metrics")
ASK_EVERY_S = 0.25


@dataclass
class Asked:
    """What the API answered, by path."""

    latencies_s: dict[str, list[float]] = field(default_factory=lambda: {path: [] for path in PATHS})
    not_answered: list[str] = field(default_factory=list)


def ask_api(address: str, token: str, ended: Event) -> Asked:
    """Ask for a list, `/readyz` and `/metrics` again and again until it is ended."""
    asked = Asked()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=60) as client:
        while not ended.wait(ASK_EVERY_S):
            for path, latencies_s in asked.latencies_s.items():
                begun = time.monotonic()
                try:
                    answer = client.get(path)
                except httpx.HTTPError as error:
                    asked.not_answered.append(f"{path}: {error!r}")
                    continue
                latencies_s.append(time.monotonic() - begun)
                if answer.status_code != 200:
                    asked.not_answered.append(f"{path}: {answer.status_code}")
    return asked


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
