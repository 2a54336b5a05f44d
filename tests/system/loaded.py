"""What the fork server of `gateway_process.py` loads, once, before any gateway is forked from it."""

import gc

import numpy.ma  # noqa: F401
import pytest  # noqa: F401  (each fork looks at the main module: that is pytest's, where it runs one process)
import uvicorn.protocols.http.h11_impl  # noqa: F401

import gateway.adapters.aws.batch
import gateway.adapters.aws.dynamodb
import gateway.adapters.aws.s3
import gateway.adapters.aws.sqs_news
import gateway.app
import gateway.cli
import gateway.logs  # noqa: F401

gc.freeze()  # what is loaded stays; collecting it would copy its pages in each fork
