"""Who ends a process group when we cannot: a shell that waits for our death.

If this program gets SIGKILL, no line of Python runs any more, and a process that ignores the end of its stdin would
live on. `PR_SET_PDEATHSIG` is no answer: it must be set between fork and exec, which is not safe with threads, it
belongs to the thread that forked, and it reaches one process of the tree. So a shell holds the reading end of a pipe
whose only writing end is ours: the kernel closes that however we die, and the shell then does what we would have done.
A shell because it costs 0.1 ms to start (it comes up while the process itself does) and 0.2 MB of its own.

When all has gone well the guardian is killed, after the group has gone, in the one state that it is ever in while we
live: waiting in ``read``. So it cannot act on a number that has been given away. If it does act, the leader has become
a child of init and its number is held by the group's members only; the group is therefore looked at before each
signal and ten times a second, and the guardian leaves as soon as it is empty. For a stranger to be hit, the group
would have to end, and all process numbers be used up and begin anew, within a tenth of a second.

Not covered: the instant between the start of the process and `Guardian.watch`; a fork of this program (without exec)
that outlives it, for it holds the pipe too; and systems without ``/bin/sh``.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys

__all__ = ["Guardian"]

# The two arguments count tenths of a second. A signal to the guardian's own group would find it deaf.
_SCRIPT = """\
trap '' HUP INT QUIT TERM
read -r group || exit 0
read -r word && exit 0
await() {
    left=$1
    while kill -s 0 -- "-$group" 2>/dev/null || exit 0; [ "$left" -gt 0 ]; do
        sleep 0.1 || { sleep 1; left=$((left - 9)); }
        left=$((left - 1))
    done
}
await "$1"
kill -s TERM -- "-$group"
await "$2"
kill -s KILL -- "-$group"
"""


class Guardian:
    """A guardian that runs, but has nothing to watch yet. Construction and methods are for a worker thread or quick."""

    def __init__(self, close_seconds: float, terminate_seconds: float) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None
        if sys.platform != "win32":
            read, self._pipe = os.pipe()
            try:
                self._shell = subprocess.Popen(
                    ["/bin/sh", "-c", _SCRIPT, "mcp-guardian", _tenths(close_seconds), _tenths(terminate_seconds)],
                    stdin=read,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={"PATH": os.defpath},
                    start_new_session=True,
                )
            except OSError:  # no shell, no guardian; all else works
                self._close()
            finally:
                os.close(read)

    @property
    def pid(self) -> int | None:
        """The shell's process id, while there is one."""
        return None if self._shell is None else self._shell.pid

    def watch(self, group: int) -> None:
        """From now on, end `group` if we die."""
        if self._pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # somebody has killed it
                os.write(self._pipe, b"%d\n" % group)

    def dismiss(self) -> None:
        """Send the guardian away, and reap it. May be called twice."""
        if self._shell is not None:
            # First this and then the pipe, so that it never sees the pipe's end.
            self._shell.kill()
            self._shell.wait()
            self._shell = None
        self._close()

    def _close(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


def _tenths(seconds: float) -> str:
    return str(math.ceil(seconds * 10))
