"""Two servers: what a primary has acknowledged is on its standby."""

import contextlib
import os
import shutil
import time

from . import checks
from .patience import patiently
from .rounds import Rounds


class Pair(Rounds):
    """
    A primary and a synchronous standby, each on a mount of its own with keys of its own. Their roles
    change with every promotion.
    """

    def create(self):
        self.promotions = self.rewinds = self.copies = 0
        self.primary = self.new_primary("a")
        self.new_keys(self.primary)
        self.standby = self.new_node("b")
        self.copy(self.standby, self.primary)
        self.new_keys(self.standby)
        self.attach()

    # ---- roles ----

    @staticmethod
    def conninfo(source, name="tool"):
        return f"host={source.dir} port=5432 user=postgres application_name={name}"

    def copy(self, node, source):
        """A base backup, from mount to mount."""
        self.tools.run(self.tools.pg / "pg_basebackup", "-D", node.mount, "--checkpoint=fast", "--wal-method=stream",
                       "-d", self.conninfo(source))
        self.copies += 1
        self.follow(node, source)

    def follow(self, node, source):
        """Starts it as a standby of the source."""
        node.configure(primary_conninfo=self.conninfo(source, node.name), synchronous_standby_names="",
                       recovery_target_timeline="latest", wal_retrieve_retry_interval="20ms", wal_keep_size="256MB",
                       wal_receiver_status_interval=1, max_standby_streaming_delay="5s",
                       max_standby_archive_delay="5s")
        self.tools.run("touch", node.mount / "standby.signal")
        node.start_server()

    def attach(self):
        """From now on a commit waits for the standby."""
        self.await_streaming()
        self.primary.reload(synchronous_standby_names="*", wal_keep_size="256MB")
        patiently("synchronous standby", lambda: self.primary.value(
            "select count(*) from pg_stat_replication where sync_state = 'sync'") == "1")

    def await_streaming(self):
        patiently("streaming", lambda: self.primary.value(
            "select count(*) from pg_stat_replication where state = 'streaming'") == "1")

    def promote(self):
        # not pg_promote(): replay may wait for its snapshot, and it for replay
        self.tools.run(self.tools.pg / "pg_ctl", "promote", "-w", "-t", "100", "-D", self.standby.mount)
        self.promotions += 1
        self.primary, self.standby = self.standby, self.primary

    def bring_back(self):
        """The old primary becomes the standby: rewound, or made anew."""
        old = self.standby
        if self.tools.major >= 15 and self.rng.random() < 0.6:
            self.primary.value("checkpoint")  # before 16 pg_rewind reads the timeline in pg_control
            if not old.daemon_lives():
                old.start_daemon()
            self.tools.run(self.tools.pg / "pg_rewind", "-D", old.mount, f"--config-file={old.conf}",
                           f"--source-server={self.conninfo(self.primary)} dbname=postgres")
            self.rewinds += 1
            self.follow(old, self.primary)
        else:
            if old.daemon_lives():
                old.unmount()
            shutil.rmtree(old.cipher)
            for keyring in ("keyring", "keyring-local"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(old.store / keyring)
            old.init()
            old.start_daemon()
            self.copy(old, self.primary)
            done = self.keys[old].set_count
            self.new_keys(old)
            self.keys[old].set_count = done

    # ---- rounds ----

    def one(self):
        self.round += 1
        rng = self.rng
        what = rng.choices(("standby", "primary", "promotion"), (3, 2, 4))[0]
        both = what == "promotion" and rng.random() < 0.5
        mark = {n: n.log.stat().st_size for n in self.nodes}
        said = []
        with self.timed("load"):
            self.begin_load(self.primary, self.nodes)
            time.sleep(rng.uniform(0.05, self.options.load_seconds))
            self.struck_at()
            if what == "promotion" and rng.random() < 0.4:
                # the standby crashes, comes back, and receives its last segment anew when the primary dies
                said.append(self.kill_standby(mark))
                time.sleep(rng.uniform(0, 0.4))
            if both and rng.random() < 0.5:
                said.append(f"standby's {self.strike(self.standby, 'all', 'of the standby')}")
        if what == "standby":
            said.append(self.kill_standby(mark))
            self.end_load(self.primary)
        else:
            said += self.kill_primary(what == "promotion", mark)
        if what == "promotion":
            if both:
                if self.standby.server_lives():
                    said.append(f"standby's {self.strike(self.standby, 'all', 'of the standby')}")
                self.come_down(self.standby, "all")
                said += self.come_up(self.standby)
            with self.timed("promotion"):
                self.promote()
            said.append(f"{self.primary.name} promoted")
        crashed = what != "standby" if what != "primary" else self.crashed
        if what == "promotion":
            with self.timed("checks"):
                self.checker.primary(self.primary, self.keys[self.primary], self.round, crashed)
            with self.timed("old primary"):
                self.bring_back()
                self.attach()
        else:
            with self.timed("checks"):
                self.await_streaming()
                self.checker.primary(self.primary, self.keys[self.primary], self.round, crashed)
        with self.timed("standby checks"):
            self.checker.standby(self.primary, self.standby, self.keys[self.standby], self.round)
        return ", then ".join(str(s) for s in said)

    def kill_standby(self, mark):
        victim = self.victim()
        name = self.strike(self.standby, victim, "of the standby")
        if victim == "backend":
            if name:
                self.await_crash_restart(self.standby, mark[self.standby])
            if not self.standby.server_lives():  # the startup process is not started again
                self.come_up(self.standby)
            return f"standby's {name} killed"
        self.come_down(self.standby, victim)
        return ", then ".join([f"standby's {name} killed", *self.come_up(self.standby)])

    def kill_primary(self, for_good, mark):
        node = self.primary
        victim = self.victim()
        if for_good and victim == "backend":
            victim = "all"
        name = self.strike(node, victim, "of the primary")
        self.crashed = True
        said = [f"primary's {name} killed"]
        with self.timed("end"):
            if victim == "backend":
                self.crashed = bool(name) and self.await_crash_restart(node, mark[node])
            else:
                self.come_down(node, victim)
            self.end_load(node)
        if not for_good and victim != "backend":
            said += self.come_up(node)
        return said

    def full(self):
        with self.timed("full checks"):
            self.checker.primary(self.primary, self.keys[self.primary], self.round, False, everything=True)
            for journal in self.journals:
                with self.primary.connect() as c:
                    journal.archive(c, self.round)
            self.primary.reload(synchronous_standby_names="")
            databases = self.checker.databases_of(self.primary)
            nodes = list(self.nodes)
            self.rng.shuffle(nodes)
            for node in nodes:
                node.stop_server()
            for node in nodes:
                self.check_stopped(node, databases)
                node.start_server()
            self.attach()

    def summary(self):
        return super().summary() | {"promotions": self.promotions, "rewinds": self.rewinds, "base backups": self.copies}
