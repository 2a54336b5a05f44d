"""The status API in the cloud: the gateway's own app over the mirror's table and the bucket.

It runs in a Lambda function (`infra/functions/status`), so nothing of it imports what works on images.
"""

from fastapi import FastAPI

from gateway.adapters.errors import OutsideError
from gateway.adapters.mirror import MirrorReader
from gateway.adapters.objects import ObjectStore
from gateway.api.app import create_api
from gateway.api.callers.addresses import keep_to_addresses
from gateway.api.callers.cognito import CognitoPolicy
from gateway.api.callers.sign_in import CognitoSignIn
from gateway.api.mirrored.table_store import TableActions, TableMirror, TableStore
from gateway.api.probes.readiness import Readiness
from gateway.api.store import JobFiles
from gateway.backends.aws import aws_session
from gateway.backends.job_folders import JobFolderFiles
from gateway.config import Config

from .actions import CloudActions
from .folders import FilesOfAllSites
from .parts import bucket_of, cloud_parts, clouds_own, require
from .progress import WithProgress
from .uploads import NoUploads


def cloud_status_api(config: Config) -> FastAPI:
    """The app; `scope["aws.event"]` has to hold the event of API Gateway, as Mangum sees to.

    Raises
    ------
    ConfigError
        A part that it needs is not switched on, or cannot be opened.
    """
    require({"api.auth = 'cognito'": config.api.auth == "cognito", **clouds_own(config)})
    parts = cloud_parts(config)
    from gateway.adapters.aws.dynamodb_reading import DynamoReader

    session, objects = aws_session(config, "mirror.backend = 'dynamodb'"), bucket_of(config)
    reader = DynamoReader(session.dynamodb(), config.mirror.table)
    store = TableStore(WithProgress(reader, objects, config.site.name))
    api = config.api
    sign_in = CognitoSignIn(api.sign_in_url, api.sign_in_client) if api.sign_in_url else None
    status = create_api(
        store,
        CloudActions(reader, parts) if parts is not None else TableActions(reader),
        lambda: _readiness(store),
        None,
        CognitoPolicy(opens_page=sign_in is not None),
        _files(config, reader, objects),
        parts.uploads if parts is not None else NoUploads(),
        pictures_from=objects.origin,
        mirror=TableMirror(),
        sign_in=sign_in,
    )
    keep_to_addresses(status, api.addresses)
    return status


def _files(config: Config, reader: MirrorReader, objects: ObjectStore) -> JobFiles:
    """Where files are found: under the own prefix, or under that of every site."""
    if config.mirror.files_of == "own":
        return JobFolderFiles(objects)

    def under(prefix: str) -> ObjectStore:
        there = config.objects.model_copy(update={"prefix": prefix})
        return bucket_of(config.model_copy(update={"objects": there}))

    return FilesOfAllSites(reader, objects, under)


def _readiness(store: TableStore) -> Readiness:
    """No instances come this way, so it is ready whenever it answers."""
    try:
        store.look()
    except OutsideError as error:
        return Readiness(True, (), (f"mirror: {error}",))
    return Readiness(True)
