"""`iris`, which tries again after a second or two what AWS or a disk did not do, not after half a minute.

What is done then, and in which order, is the same.
"""

from gateway.arrival import completeness
from gateway.cli import main
from gateway.delivery import worker as delivery
from gateway.mirror import worker as mirror
from gateway.running import hearing
from gateway.workers import attempts, worker
from gateway.workers.attempts import Backoff, Policy

attempts.POLICY = Policy(outside=Backoff(2.0, 2.0), machine=Backoff(1.0, 2.0))
delivery.POLICY = attempts.POLICY
completeness.LOOK_AGAIN_S = 2.0
worker.AFTER_A_FAILURE = Backoff(1.0, 2.0)
mirror.BACKOFF = Backoff(2.0, 2.0)
hearing.AFTER_TROUBLE = Backoff(1.0, 2.0)  # type: ignore[misc]

main()
