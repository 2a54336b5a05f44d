"""News of uploads' jobs as AWS Lambda hears them, from EventBridge and by the clock; docs/aws.md says more.

Its configuration is that of the status API, in the same variables: IRIS_MIRROR__TABLE and the others.
"""

from gateway.cloud.job_news_function import cloud_job_news
from gateway.config import read_config
from gateway.logs import configure_logging

configure_logging()
handler = cloud_job_news(read_config())
