"""Which store is configured, and what follows from it."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.adapters.aws.s3 import BucketStore
from gateway.adapters.folder import FolderStore
from gateway.backends.aws import the_session
from gateway.backends.job_folders import kept_here
from gateway.backends.stores import open_store
from gateway.config import Aws, Config, ConfigError, Objects, Rule, Site

S3 = Objects(backend="s3", bucket="iris-data", prefix="site")
RULES = [Rule(name="head", leave_site=False), Rule(name="ct")]


def test_local_store_is_a_folder_of_the_data_directory(tmp_path: Path) -> None:
    config = Config(site=Site(data_dir=tmp_path), rule=RULES)
    store = open_store(config)
    assert isinstance(store.objects, FolderStore)
    assert store.objects.root == config.data_dir / "objects"
    assert (store.job_variables, kept_here(config), store.origin()) == ({}, frozenset(), "")


def test_s3_store_is_the_bucket_and_jobs_here_are_told_the_way(aws_environment: dict[str, str]) -> None:
    config = Config(objects=S3, aws=Aws(region="eu-west-1", endpoint_url="http://localhost:9"), rule=RULES)
    store = open_store(config)
    assert isinstance(store.objects, BucketStore)
    assert store.objects.address("jobs/a/") == "s3://iris-data/site/jobs/a/"
    assert store.origin().startswith("http://")
    assert store.job_variables == {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://localhost:9",
    }
    assert kept_here(config) == {"head"}


def test_s3_without_boto3_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    the_session.cache_clear()
    monkeypatch.setitem(sys.modules, "boto3", None)
    for name in [name for name in sys.modules if name.startswith("gateway.adapters.aws")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match="pip install boto3"):
        open_store(Config(objects=S3))


def test_s3_with_an_endpoint_that_is_none_is_refused_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"aws\.endpoint_url"):
        open_store(Config(objects=S3, aws=Aws(endpoint_url="no address")))


def test_gateway_without_s3_does_not_import_boto3() -> None:
    program = "import sys, gateway.app, gateway.commands.doctor; print('boto3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
