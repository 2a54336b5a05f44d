"""Figures in CloudWatch: one PutMetricData for everything that was read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from gateway.adapters.measures import SITE, Readings, unit_of

from .refusals import asking

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDatumTypeDef

VALUES_A_DATUM: Final = 150
"""CloudWatch's own limit of different values; with their counts percentiles remain possible."""


class CloudWatchGauges:
    """`Gauges` in one namespace, under the site's name."""

    def __init__(self, client: "CloudWatchClient", namespace: str, site: str) -> None:
        self._client = client
        self._namespace = namespace
        self._site = site

    def put(self, readings: Readings) -> None:
        """Put everything in one request; see `Gauges.put`."""
        data = list(self._data(readings))
        with asking("cloudwatch:PutMetricData", f"the namespace {self._namespace}"):
            self._client.put_metric_data(Namespace=self._namespace, MetricData=data)

    def _data(self, readings: Readings) -> Iterator["MetricDatumTypeDef"]:
        for measure, values in readings.items():
            for some in _in_parts(values):
                yield {
                    "MetricName": measure.value,
                    "Dimensions": [{"Name": SITE, "Value": self._site}],
                    "Unit": unit_of(measure).value,
                    "Values": list(some),
                    "Counts": [float(times) for times in some.values()],
                }


def _in_parts(values: Sequence[float]) -> Iterator[dict[float, int]]:
    """Different values with how often each came, no more together than a datum takes."""
    counted = sorted(Counter(values).items())
    for start in range(0, len(counted), VALUES_A_DATUM):
        yield dict(counted[start : start + VALUES_A_DATUM])
