"""Children that decode: what the machine lacks is never said to be the image's fault."""

import errno
import json
from pathlib import Path

import pytest

from converter.unpacking import decoding
from converter.unpacking.decoding import Children, Encoded


def test_child_without_room_says_that_the_disk_is_full_not_that_the_image_is_damaged(
    tmp_path: Path,
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("only Linux has a device that is always full")
    frame = Encoded(str(tmp_path / "image.dcm"), "", 2, 2, "<u2")
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
