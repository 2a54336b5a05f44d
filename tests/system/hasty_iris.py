"""`iris`, which tries again after a second or two what AWS did not do; else it waits for up to a minute.

What is done then, and in which order, is the same.
"""

from gateway.cli import main
from gateway.mirror import worker as mirror
from gateway.running import hearing
from gateway.workers import attempts
from gateway.workers.attempts import Backoff, Policy

attempts.POLICY = Policy(outside=Backoff(2.0, 2.0))
mirror.BACKOFF = Backoff(2.0, 2.0)
hearing.AFTER_TROUBLE = Backoff(1.0, 2.0)  # type: ignore[misc]

main()
