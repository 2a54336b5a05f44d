"""The status API as AWS Lambda calls it, with events of an HTTP API (payload 2.0); docs/aws.md says more.

Its configuration is the gateway's, in variables: IRIS_API__AUTH, IRIS_MIRROR__TABLE and the others.
"""

from mangum import Mangum

from gateway.cloud.status_function import cloud_status_api
from gateway.config import read_config
from gateway.logs import configure_logging

configure_logging()
handler = Mangum(cloud_status_api(read_config()), lifespan="off")
