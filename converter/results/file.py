"""Writes a result object that fits into memory; many frames have a writer of their own (`seg.writer`)."""

import io
from collections.abc import Callable
from pathlib import Path

from pydicom import Dataset, config

from converter.staged_file import StagedFile

from .settings import WrittenObject


def write_object(
    result: Dataset,
    out: Path,
    warnings: tuple[str, ...] = (),
    *,
    tail: bytes = b"",
    check: Callable[[Path], None] | None = None,
) -> WrittenObject:
    """Write what `header.result_header` began, durably: under its name it is whole.

    Parameters
    ----------
    tail
        Elements behind the last one of `result`, encoded in its transfer syntax.
    check
        Looks at the file before it gets its name; where it raises, nothing is left.

    Raises
    ------
    OSError
    """
    content = io.BytesIO()
    with config.disable_value_validation():  # identifiers are kept as the PACS holds them
        result.save_as(content, enforce_file_format=True)
    staged = StagedFile(out)
    try:
        staged.write(content.getvalue())
        staged.write(tail)
        staged.finish()
        if check is not None:
            check(staged.temporary)
        staged.commit()
    finally:
        staged.discard()
    return WrittenObject(
        path=out,
        sha256=staged.sha256,
        sop_instance_uid=str(result.SOPInstanceUID),
        sop_class_uid=str(result.SOPClassUID),
        warnings=warnings,
    )
