"""What the processes of a node were doing when something did not answer."""

import os
import signal

from . import processes
from .node import tail
from .patience import Lost, patiently
from .wire import Gone, ServerError

ACTIVITY = """
select pid, backend_type, state, wait_event_type, wait_event, xact_start, left(query, 200) from pg_stat_activity
"""


def report(node):
    print(f"==== {node.name}: sessions")
    try:
        with node.connect(patience=10) as c:
            for row in c.query(ACTIVITY):
                print(*row, sep=" | ")
    except (Gone, ServerError, Lost) as e:
        print(e)
    print(f"==== {node.name}: processes of the server")
    for pid, line in sorted(node.server_processes().items()):
        print(f"{pid} {line}: {waits(pid)}")
    if node.daemon_lives():
        print(f"==== {node.name}: threads of the daemon", flush=True)
        print(thread_dump(node))
        for task in sorted(os.listdir(f"/proc/{node.daemon.pid}/task"), key=int):
            print(task, waits(f"{node.daemon.pid}/task/{task}"))
    for log in (node.log, node.dir / "pgveil.log", node.dir / "daemon.out"):
        print(f"==== {log.name}\n{tail(log)}", flush=True)


def waits(pid):
    """Where it is in the kernel; the stack is for root."""
    found = []
    for what in ("comm", "wchan", "stack"):
        try:
            with open(f"/proc/{pid}/{what}") as f:
                found.append(" < ".join(f.read().split("\n")).strip(" <"))
        except OSError as e:
            found.append(str(e))
    return ", ".join(found)


def thread_dump(node):
    """The JVM writes it to its standard output."""
    out = node.dir / "daemon.out"
    mark = out.stat().st_size
    processes.kill(node.daemon.pid, signal.SIGQUIT)

    def written():
        with open(out, "rb") as f:
            f.seek(mark)
            return f.read()
    try:
        patiently("thread dump", lambda: b"JNI global refs" in written(), seconds=10)
    except Lost as e:
        print(e)
    return written().decode(errors="replace")
