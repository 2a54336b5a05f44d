"""Addresses of other pages about a study: in the site's viewer, and of a run's log in the AWS console."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from gateway.config import UPLOAD_RULE
from gateway.config.viewers import PLACES, places_of

from ..store import Json

LOG_GROUP: Final = "/aws/batch/job"
"""Where AWS Batch puts what containers print."""


@dataclass(frozen=True)
class Links:
    """What addresses are made of.

    Parameters
    ----------
    viewer_url
        `api.viewer_url`; empty: there is no viewer.
    region
        The first AWS region, of runs that do not say theirs.
    """

    viewer_url: str = ""
    region: str = ""

    def viewer_of(self, study: Json) -> str | None:
        """Where the viewer shows a study; None where the study lacks what the address is made of."""
        if not self.viewer_url or any(job["rule"] == UPLOAD_RULE for job in study["jobs"]):
            return None
        if not all(study[place] for place in places_of(self.viewer_url)):
            return None
        return self.viewer_url.format(**{place: quote(study[place] or "", safe="") for place in PLACES})

    def log_of(self, stream: str, region: str | None = None) -> str | None:
        """Where the AWS console shows a log stream of AWS Batch, of a run in this region."""
        region = region or self.region
        if not region:
            return None
        group, name = (quote(quote(part, safe=""), safe="").replace("%", "$") for part in (LOG_GROUP, stream))
        console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        return f"{console}#logsV2:log-groups/log-group/{group}/log-events/{name}"


NO_LINKS: Final = Links()
