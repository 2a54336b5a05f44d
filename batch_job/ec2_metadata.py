"""What EC2 says about the machine (IMDSv2): which it is, and the notice that a Spot one is taken back.

A container reaches the metadata only where the instance allows two hops; where it does not answer, SIGTERM is
what is left.
"""

import json
import os
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Final

DEFAULT_ENDPOINT: Final = "http://169.254.169.254"
ENDPOINT_VARIABLE: Final = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
DISABLED_VARIABLE: Final = "AWS_EC2_METADATA_DISABLED"
LOOK_S: Final = 5.0
"""How often AWS recommends to look."""
LOOK_AGAIN_S: Final = 60.0
"""How often to try where nobody answers."""
TIMEOUT_S: Final = 2.0
TOKEN_LIVES_S: Final = 21600
GONE_WITHIN_S: Final = 180.0
"""How long a machine may still be there after its notice, which comes two minutes before its end."""


@dataclass(frozen=True)
class Machine:
    """A machine of EC2; empty where nobody says."""

    type: str = ""
    """Such as g4dn.xlarge."""
    instance: str = ""
    """EC2's name of this one."""
    zone: str = ""
    """The availability zone, which has a Spot price of its own."""
    is_spot: bool = False


def this_machine() -> Machine:
    """The machine that this process is on."""
    endpoint = _endpoint()
    if not endpoint:
        return Machine()
    try:
        token = _token(endpoint)
        said = json.loads(_ask(f"{endpoint}/latest/dynamic/instance-identity/document", token))
        life_cycle = _ask(f"{endpoint}/latest/meta-data/instance-life-cycle", token)
        kind, instance, zone = (
            str(said[name]) for name in ("instanceType", "instanceId", "availabilityZone")
        )
        return Machine(kind, instance, zone, is_spot=life_cycle.strip() == b"spot")
    except (OSError, ValueError, KeyError, TypeError):
        return Machine()


def wait_for_notice(may_begin: threading.Event) -> None:
    """Return once the machine is to be taken away; for ever where that never happens.

    A job that begins on a machine which has had its notice would end at once, and begin there again: it would
    use up its attempts in half a minute. So it waits for the machine's end instead, and has lost one.

    Parameters
    ----------
    may_begin
        Is set when there was no notice at the first look, or nobody to ask.
    """
    endpoint = _endpoint()
    pause = threading.Event()
    if not endpoint:
        may_begin.set()
        pause.wait()
    token = ""
    while True:
        try:
            token = token or _token(endpoint)
            if _is_notice(_ask(f"{endpoint}/latest/meta-data/spot/instance-action", token)):
                if not may_begin.is_set():
                    pause.wait(GONE_WITHIN_S)
                return
            answers = True
        except urllib.error.HTTPError as error:
            answers = error.code in (401, 404)  # the token has expired; no notice yet
            if error.code == 401:
                token = ""
        except (OSError, ValueError):
            answers = False
        may_begin.set()
        pause.wait(LOOK_S if answers else LOOK_AGAIN_S)


def _endpoint() -> str:
    """Where the metadata are; empty where they must not be asked."""
    endpoint = os.environ.get(ENDPOINT_VARIABLE, DEFAULT_ENDPOINT).rstrip("/")
    is_off = os.environ.get(DISABLED_VARIABLE, "").lower() == "true"
    return endpoint if endpoint.startswith("http") and not is_off else ""


def _token(endpoint: str) -> str:
    request = urllib.request.Request(f"{endpoint}/latest/api/token", method="PUT")
    request.add_header("X-aws-ec2-metadata-token-ttl-seconds", str(TOKEN_LIVES_S))
    return _send(request).decode("ascii")


def _ask(url: str, token: str) -> bytes:
    return _send(urllib.request.Request(url, headers={"X-aws-ec2-metadata-token": token}))


def _send(request: urllib.request.Request) -> bytes:
    no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is on this very machine
    with no_proxy.open(request, timeout=TIMEOUT_S) as answer:
        content: bytes = answer.read(4096)
    return content


def _is_notice(content: bytes) -> bool:
    """Terminate, stop or hibernate: the job loses its machine with each."""
    return json.loads(content).get("action") in ("terminate", "stop", "hibernate")
