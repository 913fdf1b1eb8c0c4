"""Rounds: load, a kill at a random instant, perhaps more kills while all comes back, checks."""

import collections
import contextlib
import itertools
import random
import signal
import subprocess
import time

from . import checks, load, processes
from .node import Node, await_end, tail
from .patience import Lost, patiently

WEIGHTS = {"daemon": 4, "postmaster": 2, "backend": 3, "all": 2}  # of the victims


def settings(major, rng):
    """Small caches and few WAL segments: files are written, synced, recycled and evicted all the time."""
    chosen = {
        "shared_buffers": rng.choice(("2MB", "8MB")), "temp_buffers": "800kB", "work_mem": "64kB",
        "max_connections": 50, "max_prepared_transactions": 200, "wal_level": "replica",
        "min_wal_size": "32MB", "max_wal_size": "32MB", "checkpoint_timeout": "30s",
        "bgwriter_delay": "20ms", "wal_writer_delay": "10ms", "autovacuum_naptime": "1s",
        "autovacuum_vacuum_cost_delay": 0, "restart_after_crash": "on", "log_checkpoints": "off",
        "pg_tde.wal_encrypt": "on",
    }
    if major >= 15:
        chosen["allow_in_place_tablespaces"] = "on"
    return chosen


class Rounds:
    def __init__(self, tools, directory, rng, options):
        self.tools = tools
        self.dir = directory
        self.rng = rng
        self.options = options
        self.kills = collections.Counter()
        self.seconds = collections.Counter()
        self.start_seconds = 0.5  # how long a start takes, for an instant within it
        self.round = 0
        self.nodes = []
        self.runners = []
        self.bench = None
        self.journals = [load.Journal(c) for c in load.JOURNAL_CLIENTS]
        in_place = tools.major >= 15 and not options.standby
        self.tables = [load.Tables(n, in_place) for n in range(2)]
        self.databases = load.Databases(tools.major)
        self.checker = checks.Checker(self.journals, self.tables, self.databases)
        self.keys = {}

    def create(self):
        raise NotImplementedError

    def one(self):
        """One round; returns what happened."""
        raise NotImplementedError

    def full(self):
        """The checks that take long: everything, and with the server stopped too."""
        raise NotImplementedError

    # ---- set-up ----

    def new_node(self, name):
        node = Node(self.tools, self.dir, name, settings(self.tools.major, self.rng))
        node.configure()
        self.nodes.append(node)
        node.init()
        node.start_daemon()
        return node

    def new_primary(self, name):
        node = self.new_node(name)
        node.initdb(self.rng.choice((1, 1, 16)))
        node.start_server()
        # recovery syncs every file that there is: no more databases than are needed
        node.value("alter database template0 is_template false")
        node.value("drop database template0")
        for database in ("template1", "postgres"):
            node.value("create extension amcheck", database)
        self.tools.run(self.tools.pg / "pgbench", "-i", "-q", "-s", "1", "postgres", host=node.dir)
        node.value(load.SCHEMA)
        if self.tools.major >= 15 and not self.options.standby:
            node.value("create tablespace inplace location ''")
        node.value(f"create table inside as select i, md5(i::text) v from generate_series(1, {load.Databases.ROWS}) i",
                   "template1")
        return node

    def new_keys(self, node):
        self.keys[node] = load.Keys(node, int(node.value("select oid from pg_database where datname = 'postgres'")))

    @contextlib.contextmanager
    def timed(self, what):
        start = time.monotonic()
        yield
        self.seconds[what] += time.monotonic() - start

    # ---- load ----

    def begin_load(self, node, rotate):
        workers = [(node, w) for w in (*self.journals, *self.tables, self.databases)]
        workers += [(n, self.keys[n]) for n in rotate]
        self.bench = load.Bench(node, self.dir / "pgbench.log")
        self.runners = [load.Runner(n, w, random.Random(self.rng.random())) for n, w in workers]
        for runner in self.runners:
            runner.start()

    def struck_at(self):
        """Until now nothing may have failed."""
        now = time.monotonic()
        if self.bench.process.poll() is not None:
            raise Lost("pgbench ended before the kill: " + tail(self.dir / "pgbench.log"))
        for runner in self.runners:
            if runner.error:
                raise Lost(f"{type(runner.worker).__name__} failed before the kill: {runner.error[1]}")
        return now

    def end_load(self, node):
        for runner in self.runners:
            runner.end()
        self.bench.end()
        for runner in self.runners:
            patiently(f"end of {type(runner.worker).__name__}", lambda r=runner: not r.is_alive())
        self.runners = []

    # ---- kills ----

    def victim(self):
        victims = self.options.victims
        return self.rng.choices(victims, [WEIGHTS[v] for v in victims])[0]

    def strike(self, node, victim, moment):
        """Kills; returns a name for what was killed."""
        rng = self.rng
        children = {p: line for p, line in node.server_processes().items() if p != node.server.pid} \
            if node.server is not None else {}
        name = victim
        if victim == "backend":
            kinds = collections.defaultdict(list)
            for pid, line in children.items():
                title = line.removeprefix(f"postgres: {node.name}: ").split(" ")
                kind = "client" if title[0] == "postgres" else " ".join(title[:2]).strip()
                if not kind.startswith(("stats collector", "setpriv", "/")):
                    kinds[kind].append(pid)
            if not kinds:
                return None
            kind = rng.choice(sorted(kinds))
            processes.kill(rng.choice(kinds[kind]))
            name = f"backend ({kind})"
        else:
            targets = []
            if victim in ("daemon", "all") and node.daemon_lives():
                targets.append(node.daemon.pid)
            if victim in ("postmaster", "all") and node.server_lives():
                targets.append(node.server.pid)
            if victim == "all":
                targets += children
            rng.shuffle(targets)
            for pid in targets:
                processes.kill(pid)
            if not targets:
                return None
        self.kills[f"{victim} {moment}"] += 1
        return name

    def await_crash_restart(self, node, mark):
        """
        The postmaster ends its other children and starts them anew; without it, whoever was killed was
        about to end by itself. Returns whether there was a crash.
        """
        looks = itertools.count()

        def settled():
            new = node.log_since(mark)
            if b"reinitializing" in new or not node.server_lives():
                return "crash"
            if b"terminating any other" not in new and next(looks) > 300:
                return "none"
            return None
        crashed = patiently("crash restart", settled) == "crash"
        if node.server_lives():
            node.await_server()
        return crashed

    def come_down(self, node, victim):
        """After a kill of more than a backend: nothing of the old server and daemon stays."""
        rng = self.rng
        if victim in ("daemon", "all"):
            await_end(f"{node.name}'s daemon", node.daemon)
            if victim == "daemon":
                time.sleep(rng.uniform(0, 0.1))  # the server meets errors
                if rng.random() < 0.3:
                    node.start_daemon()  # as a service manager does, under the old server's feet
        node.end_server()
        reaped = {p.pid for n in self.nodes for p in (n.daemon, n.server) if p is not None}
        processes.reap(reaped)

    def come_up(self, node):
        """Starts what does not run; returns what was killed meanwhile."""
        rng = self.rng
        killed = []
        while True:
            again = len(killed) < 3 and rng.random() < self.options.start_kills
            if not node.daemon_lives():
                if rng.random() < 0.1:
                    checks.verify_crashed(node)
                with self.timed("mount"):
                    node.launch_daemon()
                    if again and "daemon" in self.options.victims and rng.random() < 0.25:
                        time.sleep(rng.uniform(0, 0.6))
                        killed.append(f"{self.strike(node, 'daemon', 'mounting')} while mounting")
                        await_end(f"{node.name}'s daemon", node.daemon)
                        continue
                    node.await_daemon()
            begin = time.monotonic()
            with self.timed("recovery"):
                node.launch_server()
                if not again:
                    node.await_server()
                    self.start_seconds = 0.8 * self.start_seconds + 0.2 * (time.monotonic() - begin)
                    return killed
                time.sleep(rng.uniform(0, 1.2 * self.start_seconds))
                victim = self.victim()
                name = self.strike(node, victim, "starting")
                if name:
                    killed.append(f"{name} while starting")
                self.come_down(node, victim if name else "postmaster")

    # ---- the stopped cluster ----

    def check_stopped(self, node, databases):
        self.tools.run(self.tools.pg / "pg_checksums", "--check", "-D", node.mount)
        left = [str(p) for p in self.left_behind(node)]
        if left:
            raise Lost(f"{node.name}: left behind: {left[:5]}")
        node.unmount()
        checks.verify(node, databases)
        node.start_daemon()

    @staticmethod
    def left_behind(node):
        """Temporary relations and files, which every start removes."""
        for path in (node.cipher / "base").rglob("*"):
            if path.name.startswith("t") and "_" in path.name or path.name.startswith("pgsql_tmp") and path.is_file():
                yield path

    def destroy(self):
        for runner in self.runners:
            runner.end()
        if self.bench is not None:
            self.bench.end()
        for node in self.nodes:
            with contextlib.suppress(Lost, OSError, subprocess.TimeoutExpired):
                node.destroy()
        end = time.monotonic() + 10
        while processes.descendants() and time.monotonic() < end:
            for pid in processes.descendants():
                processes.kill(pid)
            time.sleep(0.02)

    @property
    def total_kills(self):
        return sum(self.kills.values())

    def summary(self):
        return {
            "rounds": self.round,
            "kills": self.total_kills,
            "acknowledged": sum(j.total for j in self.journals),
            "in doubt": "{1}, {0} of them done".format(*self.checker.doubted),
            "key changes": sum(k.set_count for k in self.keys.values()),
        }


class Single(Rounds):
    """One server."""

    def create(self):
        self.node = self.new_primary("a")
        self.new_keys(self.node)

    def one(self):
        self.round += 1
        rng, node = self.rng, self.node
        victim = self.victim()
        stopping = victim != "backend" and rng.random() < 0.12
        mark = node.log.stat().st_size
        with self.timed("load"):
            self.begin_load(node, [node])
            time.sleep(rng.uniform(0.05, self.options.load_seconds))
            self.struck_at()
            if stopping:
                node.signal_postmaster(signal.SIGINT)
                time.sleep(rng.uniform(0, 0.3))
            name = self.strike(node, victim, "stopping" if stopping else "under load")
        crashed = None if stopping else True
        with self.timed("end"):
            if victim == "backend":
                if name is None or not self.await_crash_restart(node, mark):
                    crashed = False
                self.end_load(node)
            else:
                self.come_down(node, victim)
                self.end_load(node)
        killed = [f"{name} {'while stopping' if stopping else 'killed'}"]
        if victim != "backend":
            killed += self.come_up(node)
        with self.timed("checks"):
            self.checker.primary(node, self.keys[node], self.round, crashed)
        return ", then ".join(killed)

    def full(self):
        with self.timed("full checks"):
            self.checker.primary(self.node, self.keys[self.node], self.round, False, everything=True)
            for journal in self.journals:
                with self.node.connect() as c:
                    journal.archive(c, self.round)
            databases = self.checker.databases_of(self.node)
            self.node.stop_server()
            self.check_stopped(self.node, databases)
            self.node.start_server()
