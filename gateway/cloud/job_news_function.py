"""The job-news function: what Batch says of uploads' jobs, for a cloud that no gateway looks after.

It runs in a Lambda function (`infra/functions/job_news`): EventBridge calls it with each event of Batch, and
every few minutes with `{"reconcile": true}`, since events may be lost.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from gateway.config import Config

from .parts import cloud_parts, clouds_own, require

log = structlog.get_logger(__name__)

Handler = Callable[[Mapping[str, Any], object], Mapping[str, Any]]


def cloud_job_news(config: Config) -> Handler:
    """The function; it raises what could not be taken in, so that Lambda calls again, then keeps the event.

    Raises
    ------
    ConfigError
        A part that it needs is not switched on, or cannot be opened.
    """
    from gateway.adapters.aws.sqs_news import news_in

    require({"queue.backend = 'batch'": config.queue.backend == "batch", **clouds_own(config)})
    parts = cloud_parts(config)
    assert parts is not None
    news = parts.news

    def handle(event: Mapping[str, Any], _: object) -> Mapping[str, Any]:
        if event.get("reconcile") is True:
            return {"looked_at": news.reconcile()}
        said = news_in(json.dumps(event))
        if said is None:
            return {"heard": False}
        log.info("job_news", job_key=said.job_key, run=said.run, kind=type(said).__name__)
        news.hear(said)
        return {"heard": True}

    return handle
