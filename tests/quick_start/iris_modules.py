"""What `iris` loads sooner or later, and what its jobs load."""

# ruff: noqa: F401

import numpy.ma
import rich.progress
import rich.table
import typer.rich_utils
import uvicorn.protocols.http.h11_impl
from highdicom._standard_utils import get_module_attribute_map

import gateway.adapters.aws.batch
import gateway.adapters.aws.dynamodb
import gateway.adapters.aws.s3
import gateway.adapters.aws.sqs_news
import gateway.app
import gateway.logs
import tests.quick_start.job_modules

get_module_attribute_map()  # what highdicom else reads at its first segmentation: half a second of JSON
