"""A peer is written AE@HOST:PORT; on an association with it no answer is lost."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import RLELossless
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification

from gateway.adapters.dicom.peer import NotReached, Peer, association, echo, parse_peer

TITLES = st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"), min_size=1, max_size=16)


@given(TITLES, st.sampled_from(["127.0.0.1", "pacs.example", "[::1]"]), st.integers(1, 65535))
def test_peer_as_text_reads_back_as_itself(title: str, host: str, port: int) -> None:
    assert parse_peer(f"{title}@{host}:{port}") == Peer(title, host.strip("[]"), port)


@pytest.mark.parametrize(
    "text",
    ["", "ORTHANC", "ORTHANC@host", "@host:104", "A@host:0", "A@host:65536", "A" * 17 + "@h:1", "A@h:1:2"],
)
def test_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="AE@HOST:PORT"):
        parse_peer(text)


def test_echo_where_nobody_listens_says_what_to_check() -> None:
    with pytest.raises(NotReached, match="cannot be reached: nobody listens at that port; check"):
        echo(Peer("NOBODY", "127.0.0.1", 1), "IRIS")


def test_peer_that_hangs_up_before_it_answers_may_speak_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: server.accept()[0].close())
        with pytest.raises(NotReached, match=r"took the connection, and did not answer; check .* TLS"):
            echo(Peer("PACS", "127.0.0.1", server.getsockname()[1]), "IRIS")


@pytest.mark.parametrize("host", ["pacs.invalid", "pacs..example"])
def test_host_without_an_address_is_not_reached_and_named(host: str) -> None:
    with pytest.raises(NotReached, match=f"PACS@{host}:104 .* no address is known for that host; check"):
        echo(Peer("PACS", host, 104), "IRIS")


def test_rejection_for_the_called_title_says_to_correct_that_here(listening_peer: Peer) -> None:
    with pytest.raises(NotReached, match="its own AE title is another one than PEEP: correct it here"):
        echo(replace(listening_peer, ae_title="PEEP"), "IRIS")


def test_rejection_for_the_calling_title_says_to_enter_it_there(listening_peer: Peer) -> None:
    with pytest.raises(NotReached, match="enter the AE title STRANGER "):
        echo(listening_peer, "STRANGER")


def test_peer_that_accepts_nothing_of_what_is_offered_is_told_with_the_names_of_that(
    listening_peer: Peer,
) -> None:
    label_map, pdf = "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.104.1"
    offered = [build_context(each, syntax) for each in (label_map, pdf) for syntax in (RLELossless, "1.2.3")]
    said = f"offered (Label Map Segmentation Storage ({label_map}), Encapsulated PDF Storage ({pdf})); allow"
    with (
        pytest.raises(NotReached, match=re.escape(said)),
        association(listening_peer, "IRIS", offered),
    ):
        pass


class _HeldUp(threading.Event):
    """What pynetdicom's own thread waits for, on a machine too busy to let it go on at once."""

    def wait(self, timeout: float | None = None) -> bool:
        was_set = super().wait(timeout)
        time.sleep(0.1)
        return was_set


@pytest.fixture
def listening_peer() -> Iterator[Peer]:
    entity = AE("PEER")
    entity.add_supported_context(Verification)
    entity.require_called_aet = True
    entity.require_calling_aet = ["IRIS"]
    server = entity.start_server(("127.0.0.1", 0), block=False)
    yield Peer("PEER", "127.0.0.1", server.server_address[1])
    server.shutdown()


def test_answer_is_heard_although_the_association_has_not_yet_paused_its_own_look_at_messages(
    listening_peer: Peer,
) -> None:
    with association(listening_peer, "IRIS", [build_context(Verification)]) as opened:
        opened.dimse_timeout = 1.0
        held_up = _HeldUp()
        held_up.set()
        opened._reactor_checkpoint = held_up
        send = opened.dimse.send_msg

        def send_and_be_held_up(*message: Any) -> None:
            send(*message)
            time.sleep(0.3)  # the answer is there before anybody waits for it

        opened.dimse.send_msg = send_and_be_held_up  # type: ignore[method-assign]
        time.sleep(0.05)  # into the instant in which that thread is held up
        assert opened.send_c_echo().get("Status") == 0x0000
