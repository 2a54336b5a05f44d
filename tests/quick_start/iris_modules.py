"""What `iris` loads sooner or later, and what its jobs load."""

# ruff: noqa: F401

import numpy.ma
import pydantic.v1
import rich.progress
import rich.table
import typer.rich_utils
import uvicorn.protocols.http.h11_impl

import gateway.adapters.aws.batch
import gateway.adapters.aws.dynamodb
import gateway.adapters.aws.s3
import gateway.adapters.aws.sqs_news
import gateway.app
import gateway.logs
import tests.quick_start.job_modules
