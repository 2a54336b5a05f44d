"""`iris`, which tries again after a second or two what AWS did not do; else it waits for up to a minute.

What is done then, and in which order, is the same.
"""

from gateway.adapters.aws import sqs_news
from gateway.cli import main
from gateway.mirror import worker as mirror
from gateway.workers import attempts
from gateway.workers.attempts import Backoff, Policy

attempts.POLICY = Policy(outside=Backoff(2.0, 2.0))
mirror.BACKOFF = Backoff(2.0, 2.0)
sqs_news.LONGEST_PAUSE_S = 2.0  # type: ignore[misc]

main()
