"""The command line: `mcp-tasks`, or ``python -m mcp_tasks``. It needs the extra ``cli``, all but ``serve``.

It is a user of the package like any other: only public verbs, one client peer that asks whoever sits at the terminal.
What it prints for people goes to stderr, results go to stdout; with ``--json``, stdout has one JSON object per line.

Exit codes, which `Exit` names:

====  ================================================================================================
   0  all is well
   1  the tool or the task ended in an error (``isError``, or a JSON-RPC error); what was judged or replayed is not as
      it has to be
   2  the command line is wrong, or names what does not exist
   3  the server cannot be started, has gone away, or broke the protocol
   4  it took longer than ``--timeout`` allows
   5  the task was cancelled
   6  detached: the task goes on, and what was printed or saved takes it up again
  70  a bug of ours, with its traceback
 130  interrupted (143 by SIGTERM, 141 if nobody reads our output any more)
====  ================================================================================================
"""
