"""Runs syncs that are killed (SIGKILL) at a given call of theirs to the system; a program of its own.

It reads jobs as lines of JSON and answers each with [exit code, calls]: -9 when it was killed, else how many calls
there were. Each job runs in a fork of this process, which has loaded everything.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from twisted.internet.defer import Deferred

from stor.client import Remote, sync

FILES = tuple(f"stor/client/{name}.py" for name in ("exchange", "folder", "landing", "state", "tree"))


def main():
    for line in sys.stdin:
        report, said = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(said, b"%d" % run(**json.loads(line)))
            finally:
                os._exit(0)
        os.close(said)
        _, status = os.waitpid(child, 0)
        calls = os.read(report, 100)
        os.close(report)
        print(json.dumps([os.waitstatus_to_exitcode(status), int(calls or 0)]), flush=True)  # noqa: T201 - the answer


def run(folder, url, token, namespace, die_at):
    """Sync, and give the number of calls; does not return when it comes as far as `die_at`."""
    calls = [0]

    def count(frame, event, _):
        if event == "c_call" and frame.f_code.co_filename.endswith(FILES):
            calls[0] += 1
            if calls[0] == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    from twisted.internet import reactor  # noqa: PLC0415 - each child has its own

    threading.setprofile(count)
    sys.setprofile(count)
    work = Deferred.fromCoroutine(sync(Path(folder), Remote(url, token, reactor, namespace=namespace), reactor))
    work.addErrback(lambda why: why.printTraceback()).addBoth(lambda _: reactor.stop())
    reactor.run(installSignalHandlers=False)
    sys.setprofile(None)
    return calls[0]


if __name__ == "__main__":
    main()
