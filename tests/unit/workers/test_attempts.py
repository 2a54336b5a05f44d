"""Whose fault an exception is, and how soon it is tried again."""

import errno
import sqlite3
from pathlib import Path

import pytest

from converter.errors import UnusableSeries
from gateway.adapters.errors import Away, Permanent, Retriable
from gateway.adapters.folder import FolderStore
from gateway.workers.attempts import POLICY, Backoff, Blame, CannotGoOn, Fault, fault_of


def ledger_error(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    "number",
    [
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EROFS,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.EAGAIN,
        errno.ESTALE,
    ],
    ids=errno.errorcode.get,
)
def test_fault_of_disk_files_or_memory_is_the_machines(number: int) -> None:
    fault = fault_of(OSError(number, "said by the system"), "convert")
    assert (fault.blame, fault.is_final, fault.is_defect) == (Blame.MACHINE, False, False)
    assert fault.is_everywhere == (number not in (errno.EIO, errno.ESTALE))


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_BUSY_SNAPSHOT,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
    ],
)
def test_fault_of_the_ledgers_disk_is_the_machines(code: int) -> None:
    fault = fault_of(ledger_error(code, sqlite3.DatabaseError), "convert")
    assert (fault.blame, fault.is_everywhere, fault.is_defect) == (Blame.MACHINE, True, False)


@pytest.mark.parametrize(
    "error",
    [
        ledger_error(sqlite3.SQLITE_ERROR),
        ledger_error(sqlite3.SQLITE_CONSTRAINT, sqlite3.IntegrityError),
        sqlite3.ProgrammingError("a wrong number of bindings"),
        OSError("without a number"),
        KeyError("x"),
        AssertionError(),
        SystemExit(1),
    ],
    ids=repr,
)
def test_programming_error_is_a_defect_and_counted(error: BaseException) -> None:
    fault = fault_of(error, "convert")
    assert (fault.blame, fault.is_final, fault.is_defect) == (Blame.WORK, False, True)
    assert "busy" not in fault.sentence
    assert "unforeseen" in fault.sentence


def test_statement_that_is_really_wrong_is_a_defect() -> None:
    with sqlite3.connect(":memory:") as connection, pytest.raises(sqlite3.OperationalError) as raised:
        connection.execute("SELECT * FROM nowhere")
    connection.close()
    assert fault_of(raised.value, "convert").is_defect


@pytest.mark.parametrize("error", [CannotGoOn("gone"), UnusableSeries("no"), Permanent("refused")], ids=repr)
def test_fault_that_would_be_the_same_again_is_final(error: Exception) -> None:
    fault = fault_of(error, "convert")
    assert (fault.blame, fault.sentence, fault.is_final) == (Blame.WORK, str(error), True)


def test_fault_of_nobody_there_is_the_outsides() -> None:
    fault = fault_of(Away("AWS does not answer"), "submit")
    assert (fault.blame, fault.sentence) == (Blame.OUTSIDE, "AWS does not answer")


def test_lack_of_memory_is_the_machines_and_counted_the_longer() -> None:
    fault = fault_of(MemoryError(), "convert")
    assert (fault.blame, fault.is_everywhere, fault.is_counted) == (Blame.MACHINE, False, True)
    assert "no memory left" in fault.sentence
    own = Fault(Blame.WORK, "")
    assert [POLICY.is_enough(each, POLICY.failures_allowed) for each in (own, fault)] == [True, False]
    assert POLICY.is_enough(fault, POLICY.lacks_allowed)


@pytest.mark.parametrize("error", [Retriable("cut off"), OSError(errno.ENOENT, "x")], ids=repr)
def test_fault_that_may_be_the_works_own_is_counted(error: Exception) -> None:
    fault = fault_of(error, "stage")
    assert (fault.blame, fault.is_final, fault.is_defect) == (Blame.WORK, False, False)


def test_full_disk_behind_the_object_folder_is_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = FolderStore(tmp_path / "objects")
    monkeypatch.setattr("gateway.adapters.folder.write_durably", full)
    with pytest.raises(Retriable) as raised:
        store.put("jobs/a/request.json", b"{}")
    fault = fault_of(raised.value, "stage")
    assert (fault.blame, fault.is_everywhere) == (Blame.MACHINE, True)
    assert "see to its disk" in fault.sentence


def test_backoff_doubles_up_to_its_longest_whatever_chance_adds() -> None:
    backoff = Backoff(2.0, 30.0)
    for earlier, most in ((0, 2.0), (1, 4.0), (3, 16.0), (4, 30.0), (10_000, 30.0)):
        assert 0.8 * most <= backoff.delay_s(earlier) <= most
