"""The part of `iris doctor` that looks at AWS: only what the configuration switches on."""

from collections.abc import Iterator
from dataclasses import replace

from gateway.adapters.checks import Check, Verdict, until_refused
from gateway.config import Config


def examine_aws(config: Config) -> Iterator[Check]:
    """Identity, clock, bucket, job queues, news and mirror, as far as they are used."""
    uses_batch, uses_news = config.queue.backend == "batch", config.news.backend == "sqs"
    uses_bucket, uses_mirror = config.objects.facts.is_bucket, config.mirror.backend == "dynamodb"
    if not (uses_batch or uses_news or uses_bucket or uses_mirror):
        return
    try:
        from gateway.adapters.aws.inspection import account, batch, bucket, news, table
        from gateway.adapters.aws.session import AwsSession
    except ModuleNotFoundError:
        yield Check("aws", Verdict.FAILED, "boto3 is not installed", "pip install boto3")
        return
    session = AwsSession(config.aws.region, config.aws.endpoint_url)
    try:
        known = list(until_refused(account.IDENTITY, account.identity(session)))
    except ValueError:
        finding = "aws.region or aws.endpoint_url is none that AWS knows"
        known = [Check(account.IDENTITY, Verdict.FAILED, finding, "correct it")]
    yield from known
    if any(check.verdict is Verdict.FAILED for check in known):
        return  # everything else would say the same
    if uses_bucket:
        wanted = bucket.WantedBucket(config.objects.bucket, config.objects.prefix, config.objects.kms_key)
        yield from until_refused("bucket", bucket.bucket(session, wanted))
    if uses_batch:
        queue, fallback = config.queue, config.queue.fallback
        yield from batch.batch(session, batch.WantedQueue("queue", queue.job_queue, queue.job_definition))
        yield from until_refused(batch.DISKS, batch.disks(session), Verdict.WARNING)
        if queue.urgent.job_queue:
            wanted_queue = batch.WantedQueue("queue.urgent", queue.urgent.job_queue, queue.job_definition)
            yield from batch.batch(session, wanted_queue)
        if fallback.region:
            yield from _second_region(config)
        elif fallback.job_queue:
            definition = fallback.job_definition or queue.job_definition
            yield from batch.batch(
                session, batch.WantedQueue("queue.fallback", fallback.job_queue, definition)
            )
    if uses_news:
        yield from until_refused(news.NEWS, news.news(session, config.news.queue_url))
    if uses_mirror:
        yield from until_refused(table.TABLE, table.table(session, config.mirror.table))


def _second_region(config: Config) -> Iterator[Check]:
    """The same of what `queue.fallback` names in another region; who we are is known by now."""
    from gateway.adapters.aws.inspection import batch, bucket, news
    from gateway.adapters.aws.session import AwsSession

    there = config.queue.fallback
    session = AwsSession(there.region, config.aws.endpoint_url)
    wanted_bucket = bucket.WantedBucket(there.bucket, there.prefix, there.kms_key)
    wanted_queue = batch.WantedQueue("queue.fallback", there.job_queue, there.job_definition)
    try:
        checks = [
            *until_refused("bucket", bucket.bucket(session, wanted_bucket)),
            *batch.batch(session, wanted_queue),
            *until_refused(batch.DISKS, batch.disks(session), Verdict.WARNING),
        ]
        if there.news_queue_url:
            checks += until_refused(news.NEWS, news.news(session, there.news_queue_url))
    except ValueError:
        finding = "queue.fallback.region is none that AWS knows"
        checks = [Check("second region", Verdict.FAILED, finding, "correct it")]
    yield from (replace(check, name=f"{check.name} in {there.region}") for check in checks)
