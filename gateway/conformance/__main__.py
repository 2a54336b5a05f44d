"""`python -m gateway.conformance DOCUMENT`: writes the tables into the statement, between their marks."""

import sys
from pathlib import Path

from .tables import TABLES


def written(text: str) -> str:
    """The document with every table as it is now.

    Raises
    ------
    ValueError
        A table has no place in it.
    """
    for mark, table in TABLES.items():
        begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"the document has no place for the table: {begin} and {end}, once each")
        head, _, rest = text.partition(begin)
        text = f"{head}{begin}\n{table()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    document = Path(sys.argv[1])
    document.write_text(written(document.read_text(encoding="utf-8")), encoding="utf-8")
