"""Takes the place of `python`: has the server fork a process, and is that process to whoever started it.

Run as `python -IS launcher.py SOCKET ARGUMENTS...`; the standard library alone, and little of it.
"""

import json
import os
import signal
import socket
import sys

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> int:
    """Follow the process to its end; its exit code, negative for a signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(sys.argv[1])
        folder = os.getcwd()  # noqa: PTH109  (pathlib would take as long to load as all the rest)
        request = {"arguments": sys.argv[2:], "environment": dict(os.environ), "folder": folder}
        content = json.dumps(request).encode()
        socket.send_fds(server, [len(content).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(content)
        for number in SIGNALS:
            signal.signal(number, lambda number, _: server.send(bytes([number])))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        answer = server.recv(4)
    return int.from_bytes(answer, "big", signed=True) if answer else os.EX_SOFTWARE


code = main()
if code < 0:
    if -code in SIGNALS:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
