"""Children that decode: what the machine lacks is never said to be the image's fault."""

import errno
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.errors import ConversionFailed
from converter.unpacking import decoding
from converter.unpacking.decoding import Children, Encoded, decode_here


def test_child_without_room_says_that_the_disk_is_full_not_that_the_image_is_damaged(
    tmp_path: Path,
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("only Linux has a device that is always full")
    frame = Encoded(str(tmp_path / "image.dcm"), 2, 2, "<u2")
    children = Children([frame], tmp_path, 60.0)
    (tmp_path / "decoded-0.said").symlink_to(full)  # the image is gone, which cannot be written down
    with children, pytest.raises(OSError) as raised:  # noqa: PT011 (its number is looked at)
        children.decoded()
    assert raised.value.errno == errno.ENOSPC


def test_child_that_cannot_write_what_it_decoded_ends_with_the_number_of_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Encoded) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(decoding, "decode_here", fail)
    (tmp_path / "decoded-0.json").write_text(json.dumps([dict.fromkeys(Encoded.__dataclass_fields__, "")]))
    assert decoding.main(tmp_path / "decoded-0") == decoding.EXIT_OF_ERRNO + errno.ENOSPC


def test_child_that_is_killed_lacked_memory_and_one_that_crashed_was_given_a_damaged_image(
    tmp_path: Path,
) -> None:
    for number, wanted in ((signal.SIGKILL, MemoryError), (signal.SIGSEGV, ConversionFailed)):
        with Children([Encoded("image.dcm", 2, 2, "<u2")], tmp_path, 60.0) as children:
            os.kill(children._children[0].pid, number)  # what the system does where memory runs out
            with pytest.raises(wanted):
                children.decoded()


def test_child_that_cannot_begin_says_nothing_about_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding.sys, "executable", "/bin/false")
    with (
        Children([Encoded("image.dcm", 2, 2, "<u2")], tmp_path, 60.0) as children,
        pytest.raises(RuntimeError, match="could not begin"),
    ):
        children.decoded()


def test_child_that_has_no_memory_ends_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Encoded) -> None:
        raise MemoryError

    monkeypatch.setattr(decoding, "decode_here", fail)
    (tmp_path / "decoded-0.json").write_text(json.dumps([dict.fromkeys(Encoded.__dataclass_fields__, "")]))
    assert decoding.main(tmp_path / "decoded-0") in decoding.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.ENOSPC, "full"), ValueError("damaged")], ids=repr
)
@pytest.mark.parametrize("where", ["read", "as_array", "plugin"])
def test_what_the_machine_lacks_comes_through_every_plugin_and_what_else_is_raised_is_damage(
    data: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    path = data / "ct-abdomen-jpeg2000" / "01.dcm"
    decoder: Any = decoding.get_decoder(decoding.dcmread(path).file_meta.TransferSyntaxUID)
    libraries = logging.getLogger("pydicom")
    monkeypatch.setattr(libraries, "level", logging.CRITICAL)  # as the gateway wants to hear of them
    libraries.manager._clear_cache()
    if where == "read":
        monkeypatch.setattr(decoding, "dcmread", fail)
    elif where == "as_array":
        monkeypatch.setattr(type(decoder), "as_array", fail)
    else:
        monkeypatch.setattr(decoder, "_available", dict.fromkeys(decoder._available, fail))
    is_seen = not isinstance(error, ValueError) and (where != "plugin" or isinstance(error, MemoryError))
    with pytest.raises(type(error) if is_seen else ConversionFailed):
        decode_here(Encoded(str(path), 512, 512, np.dtype("<u2").str))
