"""What a job with the engine threshold loads sooner or later, at either kind of address."""

# ruff: noqa: F401

from PIL import Image

import batch_job.bucket
import batch_job.engines.threshold
import batch_job.several
from tests.quick_start import service_tables

Image.preinit()
service_tables.read("s3")
