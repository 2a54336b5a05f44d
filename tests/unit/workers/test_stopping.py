"""The end of the process, whatever hangs."""

import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

from gateway.workers.stopping import stop_together

DEADLINE_S = 120.0


def test_parts_are_stopped_at_once_and_those_that_hang_are_named() -> None:
    go_on = threading.Event()
    both = threading.Barrier(2)
    begun = time.monotonic()
    hanging = stop_together(
        {"first": lambda: both.wait(DEADLINE_S), "second": lambda: both.wait(DEADLINE_S), "s3": go_on.wait},
        within_s=1.0,
    )
    go_on.set()
    assert hanging == ["s3"]
    assert time.monotonic() - begun < DEADLINE_S / 2


def test_part_that_raises_at_its_end_does_not_hold_up_the_others() -> None:
    def fail() -> None:
        raise ValueError

    ended = threading.Event()
    assert stop_together({"bad": fail, "good": ended.set}) == []
    assert ended.is_set()


HANGING = """
import threading
from gateway.workers.stopping import asked_to_stop
stop = asked_to_stop(exit_within_s=0.5)
threading.Thread(target=threading.Event().wait).start()  # the interpreter would wait for it for ever
print("ready", flush=True)
stop.wait()
print("asked", flush=True)
threading.Event().wait()
"""


def test_process_that_is_asked_to_stop_is_over_whatever_hangs() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen([sys.executable, "-c", HANGING], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process, process.stdout, ExitStack() as ended:
            ended.callback(process.kill)
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            assert process.stdout.readline() == "asked\n"
            assert process.wait(DEADLINE_S) == 0


HANGS_AT_ITS_END = """
import time
from gateway.workers.stopping import asked_to_stop, end_at_once
class Hangs:
    def __del__(self):
        time.sleep(600)  # in the interpreter's own end, where no other thread runs any more
it = Hangs()
stop = asked_to_stop(exit_within_s=0.5)
print("ready", flush=True)
stop.wait()
end_at_once(())
"""


def test_process_that_has_stopped_does_not_wait_for_the_end_of_its_interpreter() -> None:
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HANGS_AT_ITS_END], **piped, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=DEADLINE_S) == ("", "")
    assert process.returncode == 0
