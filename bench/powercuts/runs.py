"""Recorded runs: a load on a server whose cipher directory and keyrings lie on a recorded disk.

Who has promised what is written down beside the recording: a Chronicle knows, for any position in it,
what each worker of the load had been told by then.
"""

import copy
import os
import re
import signal
import subprocess
import threading
import time

from kills import checks, load
from kills.node import Node, await_end, tail
from kills.pair import Pair
from kills.patience import Lost, patiently
from kills.rounds import Rounds, Single, settings
from kills.wire import Connection, ServerError


class Chronicle:
    """Each worker's knowledge over the recording, which is the clock: its size is the time."""

    def __init__(self, recording):
        self.recording = recording
        self.entries = {}  # worker -> [(position, what it knew before, and was asking)]

    def now(self):
        return os.path.getsize(self.recording)

    def around(self, worker, ask):
        """Until the answer is there, what is asked may be done or not; a worker says so before it asks."""
        before = frozen(worker)
        try:
            answer = ask()
        except ServerError:
            self._answered(worker, before)
            raise
        if answer is not NO_ANSWER:
            self._answered(worker, before)
        return answer

    def _answered(self, worker, before):
        self.entries.setdefault(worker, []).append((self.now(), before))

    def at(self, worker, position):
        for end, state in self.entries.get(worker, ()):
            if position < end:
                return frozen(state)
        return frozen(worker)


NO_ANSWER = object()


def frozen(worker):
    """A copy that does not change with it, but works with the same node."""
    new = copy.copy(worker)
    for name, value in vars(worker).items():
        if isinstance(value, (dict, set, list)):
            setattr(new, name, copy.deepcopy(value))
    return new


class Observed(Connection):
    def __init__(self, *arguments, chronicle, worker, **options):
        self.chronicle = None
        super().__init__(*arguments, **options)
        self.chronicle, self.worker = chronicle, worker

    def query(self, sql):
        return self.chronicle.around(self.worker, lambda: super(Observed, self).query(sql))


class RecordedNode(Node):
    """Also the one whose server answers the workers' questions is observed, if it is another."""

    chronicle = None

    def connect(self, database="postgres", **options):
        thread = threading.current_thread()
        if self.chronicle and isinstance(thread, load.Runner):
            return Observed(self.dir, database, chronicle=self.chronicle, worker=thread.worker, **options)
        return super().connect(database, **options)

    def control(self, command, **arguments):
        thread = threading.current_thread()
        if not self.chronicle or not isinstance(thread, load.Runner):
            return super().control(command, **arguments)

        def ask():
            reply = super(RecordedNode, self).control(command, **arguments)
            return NO_ANSWER if reply is None else reply
        reply = self.chronicle.around(thread.worker, ask)
        return None if reply is NO_ANSWER else reply


    @staticmethod
    def is_left_by_rollback(main):
        """
        Or by an unlogged relation whose init fork PostgreSQL does not sync when it makes it, a hash index: redo
        makes that fork again, after recovery has looked for main forks that it has to remove. It would have
        emptied this one, so nothing is lost with it.
        """
        return main.with_name(main.name + "_init").exists()

    def stop_server(self):
        self.sync_unlogged()
        super().stop_server()

    def sync_unlogged(self):
        """
        Before 17 PostgreSQL writes the index that it builds for an unlogged table past its buffers, and syncs it
        never, though after a clean stop recovery does not empty it (from 17 on smgr_bulk_finish has it synced by
        the checkpoint). A cut may tear such an index on any file system.
        """
        if self.tools.major >= 17:
            return
        with self.connect() as c:
            paths = c.query("select pg_relation_filepath(oid) from pg_class where relpersistence = 'u'"
                            " and relkind in ('r', 'i', 't') and not pg_is_in_recovery()")
        for (path,) in paths:
            fd = os.open(self.mount / path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def unmount(self):
        """By SIGTERM, as systemd does it: a command would cost a JVM."""
        self.daemon.terminate()
        code = await_end(f"{self.name}'s daemon", self.daemon)
        if code != 0:
            raise Lost(f"{self.name}: the daemon ended with {code}: " + tail(self.dir / "daemon.out"))


class Disk:
    """The process that serves and records a file system."""

    def __init__(self, java, class_path, mount, recording):
        self.mount = mount
        mount.mkdir(parents=True)
        self.process = subprocess.Popen(
            [java, "-XX:+UseSerialGC", "-Xmx2g", "-XX:TieredStopAtLevel=1", "--enable-native-access=ALL-UNNAMED",
             "-cp", class_path, "io.pgveil.fuse.RecordedFileSystem", str(mount), str(recording)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd="/", start_new_session=True)
        while (line := self.process.stdout.readline()) != "recording\n":
            if not line:
                raise SystemExit("powercut: the recorded disk was not mounted")

    def end(self):
        if self.process.poll() is None:
            detach = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
            subprocess.run([*detach, str(self.mount)], check=False)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()


class Recorded(Rounds):
    """What both kinds of runs have in common."""

    recorded = "a"  # the node on the recorded disk

    def __init__(self, tools, directory, rng, options):
        super().__init__(tools, directory, rng, options)
        self.recording = directory / "recording"
        self.chronicle = Chronicle(self.recording)
        self.disk = None
        self.events = []

    def new_node(self, name):
        store = "."
        if name == self.recorded:
            store = "disk"
            self.disk = Disk(self.options.java, self.options.class_path, self.dir / name / store, self.recording)
        chosen = settings(self.tools.major, self.rng)
        chosen |= {"fsync": "on", "full_page_writes": "on"}  # or nothing would be promised
        node = RecordedNode(self.tools, self.dir, name, chosen, store)
        node.configure()
        self.nodes.append(node)
        node.init()
        node.start_daemon()
        return node

    def begin(self):
        """From here on cuts are made: what came before counts as synced long ago."""
        for node in self.nodes:
            node.chronicle = self.chronicle
        self.start = self.chronicle.now()

    def burst(self, node, rotate, event):
        self.begin_load(node, rotate)
        time.sleep(self.rng.uniform(0.4, self.options.load_seconds))
        self.struck_at()
        self.events.append(event.__name__)
        event(node)

    def settle(self, node, crashed):
        """What was in doubt when the load ended is known again."""
        checks.quiet(node)
        load.settle_prepared(node, self.journals)
        with node.connect() as c:
            for worker in self.journals:
                self.chronicle.around(worker, lambda w=worker: w.check(c))
            for worker in self.tables:
                self.chronicle.around(worker, lambda w=worker: w.check(c, crashed))
            self.chronicle.around(self.databases, lambda: self.databases.check(node, c))
        self.chronicle.around(self.keys[node], self.keys[node].check)

    # ---- how a burst of load ends ----

    def checkpoint(self, node):
        node.value("checkpoint")
        self.end_load(node)
        self.settle(node, False)

    def restart(self, node):
        """Changes the encryption of WAL, which the load has asked for or this does."""
        self.end_load(node)
        node.configure(**{"pg_tde.wal_encrypt": self.rng.choice(("on", "off"))})
        node.stop_server()
        node.start_server()
        self.settle(node, False)

    def remount(self, node):
        self.end_load(node)
        node.stop_server()
        node.unmount()
        node.start_daemon()
        node.start_server()
        self.settle(node, False)

    def crash(self, node):
        """Recovery is recorded too: the power may be cut during it."""
        node.signal_postmaster(signal.SIGQUIT)
        await_end("the server", node.server)
        self.end_load(node)
        node.end_server()
        node.start_server()
        self.settle(node, True)

    def finish(self):
        """Ends everything but the recording."""
        for node in self.nodes:
            node.stop_server()
            node.unmount()
        self.disk.end()

    def destroy(self):
        super().destroy()
        if self.disk is not None:
            self.disk.end()


class SingleRun(Recorded, Single):
    def record(self):
        self.create()
        self.begin()
        events = [self.checkpoint, self.restart, self.remount, self.crash]
        self.rng.shuffle(events)
        for event in events:
            self.burst(self.node, [self.node], event)
        self.finish()
        return self.node


class PromotionRun(Recorded, Pair):
    """The standby is recorded; it is promoted, and the load goes on there."""

    recorded = "b"

    def record(self):
        self.create()
        self.begin()
        standby = self.standby
        self.burst(self.primary, self.nodes, self.standby_restart)
        self.burst(self.primary, self.nodes, self.promotion)
        self.burst(standby, [standby], self.checkpoint)
        self.nodes.remove(self.standby)  # the old primary has ended
        self.finish()
        return standby

    def standby_restart(self, node):
        standby = self.standby
        standby.signal_postmaster(self.rng.choice((signal.SIGINT, signal.SIGQUIT)))
        await_end("the standby", standby.server)
        standby.end_server()
        standby.start_server()
        self.await_streaming()
        self.end_load(node)
        self.settle(node, False)

    def promotion(self, node):
        node.signal_postmaster(signal.SIGQUIT)
        await_end("the primary", node.server)
        self.end_load(node)
        node.end_server()
        node.unmount()
        self.promote()
        self.settle(self.primary, True)


def run_class(standby):
    return PromotionRun if standby else SingleRun


def aftermath(run, node, position, everything):
    """Mounts what is left and demands what was promised before the position in the recording."""
    chronicle = run.chronicle
    keys = chronicle.at(run.keys[node], position)
    checker = checks.Checker(
        [chronicle.at(w, position) for w in run.journals], [chronicle.at(w, position) for w in run.tables],
        chronicle.at(run.databases, position))
    if everything:
        with run.timed("verify before"):
            checks.verify_crashed(node)
    with run.timed("mount"):
        node.start_daemon()
    with run.timed("recovery"):
        node.start_server()
    if node.value("select pg_is_in_recovery()") == "t":
        node.tools.run(node.tools.pg / "pg_ctl", "promote", "-w", "-t", "100", "-D", node.mount)
        patiently("end of recovery", lambda: node.value("select pg_is_in_recovery()") == "f")
    with run.timed("checks"):
        # unlogged tables are empty, or as they were if the server had just been stopped
        checker.primary(node, keys, position, None, everything=everything)
    databases = checker.databases_of(node)
    with run.timed("stop"):
        node.stop_server()
    with run.timed("checksums"):
        check_sums(node, databases)
    left = [str(p) for p in Rounds.left_behind(node)]
    if left:
        raise Lost(f"left behind: {left[:5]}")
    with run.timed("unmount"):
        node.unmount()
    with run.timed("verify"):
        checks.verify(node, databases, may_be_torn)


BAD_SUM = re.compile(r'checksum verification failed in file "[^"]*?/mount/([^"]+)", block')


def check_sums(node, databases):
    """
    pg_checksums does not know what a database is: the directory that an interrupted CREATE or DROP DATABASE
    has left is nobody's, and what was not synced in it is as the cut left it.
    """
    cut_off_parts_of_pages(node)
    done = node.tools.run(node.tools.pg / "pg_checksums", "--check", "-D", node.mount, accept=(0, 1))
    bad = set(BAD_SUM.findall(done.stderr))
    if done.returncode != 0 and not bad:
        raise Lost(f"pg_checksums: {done.stderr[-1500:]}")
    wrong = sorted(name for name in bad if not may_be_torn(name) and not is_nobodys(name, databases))
    if wrong:
        raise Lost(f"pg_checksums: bad pages in {len(wrong)} files: {wrong[:5]}")


RELATION = re.compile(r"\d+(_\w+)?(\.\d+)?")


def cut_off_parts_of_pages(node):
    """
    A file may end within a page that was being added. PostgreSQL counts whole pages, and writes over the rest
    later; pg_checksums gives up there.
    """
    for path in node.mount.rglob("*"):
        if RELATION.fullmatch(path.name) and path.is_file():
            rest = path.stat().st_size % 8192
            if rest and path.relative_to(node.mount).parts[0] in ("base", "global", "pg_tblspc"):
                node.tools.run("truncate", "--size", f"-{rest}", path)


def is_nobodys(name, databases):
    parts = name.split("/")
    return parts[0] == "base" and parts[1] not in databases


def may_be_torn(name):
    """
    What PostgreSQL writes so that a cut may tear it, on any file system, and what it then does without:
    pages of these two forks it changes without a full page image (replay clears bits of a visibility map,
    the free space map is a hint), and takes one with a wrong checksum for an empty one; a pg_internal.init
    it never syncs, and removes before it recovers, but not the one with a process id that it was still writing.
    """
    return name.endswith(("_vm", "_fsm")) or re.search(r"/pg_internal\.init\.\d+$", name) is not None
