"""boto3's tables of the services, read once a process instead of once a session.

Every gateway, job and test has a session of its own, and to read the tables is most of what its clients take.
"""

import functools

import boto3.session
import botocore.session

botocore.session.create_loader = functools.cache(botocore.session.create_loader)


def read(*services: str) -> None:
    """Read what clients of these services need."""
    session = boto3.session.Session("nobody", "nothing", region_name="us-east-1")
    for service in services:
        session.client(service)
