"""The status API in the cloud: the gateway's own app over the mirror's table and the bucket.

It runs in a Lambda function (`infra/functions/status`), so nothing of it imports what works on images.
"""

from fastapi import FastAPI

from gateway.adapters.errors import OutsideError
from gateway.api.app import create_api
from gateway.api.cognito import CognitoPolicy
from gateway.api.readiness import Readiness
from gateway.api.table_store import TableActions, TableMirror, TableStore
from gateway.aws import aws_session
from gateway.config import Config, ConfigError
from gateway.job_folders import JobFolderFiles, object_store, pictures_from


def cloud_status_api(config: Config) -> FastAPI:
    """The app; `scope["aws.event"]` has to hold the event of API Gateway, as Mangum sees to.

    Raises
    ------
    ConfigError
        A part that it needs is not switched on, or cannot be opened.
    """
    _refuse_what_is_not_the_clouds(config)
    from gateway.adapters.aws.dynamodb_reading import DynamoReader

    session = aws_session(config, "mirror.backend = 'dynamodb'")
    reader = DynamoReader(session.dynamodb(), config.mirror.table)
    store, objects = TableStore(reader), object_store(config)
    return create_api(
        store,
        TableActions(reader),
        lambda: _readiness(store),
        None,
        CognitoPolicy(),
        JobFolderFiles(objects),
        pictures_from=pictures_from(objects),
        mirror=TableMirror(),
    )


def _refuse_what_is_not_the_clouds(config: Config) -> None:
    wanted = {
        "api.auth = 'cognito'": config.api.auth == "cognito",
        "mirror.backend = 'dynamodb'": config.mirror.backend == "dynamodb",
        "objects.backend = 's3'": config.objects.backend == "s3",
    }
    missing = [setting for setting, is_set in wanted.items() if not is_set]
    if missing:
        raise ConfigError(f"the status API in the cloud needs {' and '.join(missing)}")


def _readiness(store: TableStore) -> Readiness:
    """No instances come this way, so it is ready whenever it answers."""
    try:
        store.look()
    except OutsideError as error:
        return Readiness(True, (), (f"mirror: {error}",))
    return Readiness(True)
