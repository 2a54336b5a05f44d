"""What `iris` loads sooner or later, and what its jobs load."""

# ruff: noqa: F401

import pkgutil
from importlib import import_module

import numpy.ma
import pydantic.v1
import rich.progress
import rich.table
import typer.rich_utils
import uvicorn.protocols.http.h11_impl

import converter
import gateway
import tests.quick_start.job_modules
from tests.quick_start import service_tables

service_tables.read("batch", "cloudwatch", "dynamodb", "service-quotas", "sqs", "sts")
for package in (converter, gateway):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        # Those of the cloud and the demo run elsewhere, and what is run itself must not be loaded before.
        if not module.name.startswith(("gateway.cloud", "gateway.demo", "gateway.cli")):
            import_module(module.name)
