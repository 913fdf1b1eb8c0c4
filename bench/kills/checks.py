"""What must be true of a server that has come back."""

import concurrent.futures
import itertools
import time

from . import load
from .patience import Lost, patiently
from .wire import ServerError

# a query on a standby and its replay can wait for each other, one for a snapshot, the other for a lock: that is
# no deadlock that PostgreSQL sees, so replay ends the query after max_standby_streaming_delay
CONFLICTS = ("40001", "40P01")

CLASSES = 10  # a round's amcheck takes a tenth of the relations

AMCHECK = """
select 'heap ' || c.oid::regclass::text || ' block ' || v.blkno || ': ' || v.msg
  from pg_class c, lateral verify_heapam(c.oid) v
  where c.relkind in ('r', 'm', 't') and c.relpersistence {persistence} and {share}
union all select nullif(bt_index_check(c.oid, true)::text, '')
  from pg_class c join pg_index i on i.indexrelid = c.oid join pg_am a on a.oid = c.relam
  where a.amname = 'btree' and i.indisvalid and c.relpersistence {persistence} and {share}
"""


def amcheck(c, share="true", recovering=False):
    persistence = "= 'p'" if recovering else "<> 't'"
    try:
        bad = [what for (what,) in c.query(AMCHECK.format(persistence=persistence, share=share)) if what]
    except ServerError as e:
        if e.state in CONFLICTS:
            raise
        raise Lost(f"amcheck: {e}") from e
    if bad:
        raise Lost(f"amcheck: {len(bad)} damages: {bad[:3]}")


def quiet(node):
    """No statement of a client that is gone goes on."""
    with node.connect() as c:
        patiently("end of the old clients", lambda: c.value(
            "select count(*) from pg_stat_activity where backend_type = 'client backend'"
            " and pid <> pg_backend_pid()") == "0")


class Checker:
    """Checks side by side; each has a connection of its own."""

    def __init__(self, journals, tables, databases):
        self.journals = journals
        self.tables = tables
        self.databases = databases
        self.seconds = {}
        self.doubted = [0, 0]  # found, of all

    def _all(self, jobs):
        def timed(name, job):
            start = time.monotonic()
            job()
            self.seconds[name] = self.seconds.get(name, 0) + time.monotonic() - start

        pool = concurrent.futures.ThreadPoolExecutor(len(jobs))
        try:
            for future in [pool.submit(timed, name, job) for name, job in jobs.items()]:
                future.result()
        finally:
            pool.shutdown(wait=False)  # who fails, or is told to end, does not wait for answers that may never come

    @staticmethod
    def _with(node, job, database="postgres"):
        def run():
            with node.connect(database) as c:
                return job(c)
        return run

    @classmethod
    def _while_replaying(cls, node, job):
        def run():
            for attempt in itertools.count(1):
                try:
                    return cls._with(node, job)()
                except ServerError as e:
                    if e.state not in CONFLICTS or attempt == 20:
                        raise
        return run

    def primary(self, node, keys, round_, crashed, everything=False):
        quiet(node)
        load.settle_prepared(node, self.journals)

        def journals(c):
            for journal in self.journals:
                found, doubted = journal.check(c)
                self.doubted[0] += found
                self.doubted[1] += doubted
            load.check_whole(c)

        def tables(c):
            for tables in self.tables:
                tables.check(c, crashed)
            load.check_init_forks(c)

        share = "true" if everything else f"c.oid::bigint % {CLASSES} = {round_ % CLASSES}"
        jobs = {
            "journal": self._with(node, journals),
            "sums": self._with(node, load.check_sums),
            "tables": self._with(node, tables),
            "databases": self._with(node, lambda c: self.databases.check(node, c)),
            "amcheck": self._with(node, lambda c: amcheck(c, share)),
            "keys": keys.check,
        }
        self._all(jobs)
        if everything:
            others = [n for n in self.databases_of(node).values() if n != "postgres"]
            self._all({f"amcheck {n}": self._with(node, amcheck, n) for n in others})

    def standby(self, primary, node, keys, round_):
        """Once it has everything it shows the same."""
        # what tells the standby which transactions run: of those that ended in a crash replay keeps the locks
        primary.value("checkpoint")
        position = primary.value("select pg_current_wal_flush_lsn()")
        replayed = self._while_replaying(
            node, lambda c: c.value(f"select pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"))
        patiently(f"{node.name}: replay up to {position}", lambda: replayed() == "t")

        def same(c):
            for journal in self.journals:
                journal.check(c)
            load.check_whole(c)
            load.check_sums(c)

        share = f"c.oid::bigint % {CLASSES} = {round_ % CLASSES}"
        self._all({
            "standby": self._while_replaying(node, same),
            "standby amcheck": self._while_replaying(node, lambda c: amcheck(c, share, recovering=True)),
            "standby keys": keys.check,
        })

    @staticmethod
    def databases_of(node):
        """OID -> name."""
        with node.connect() as c:
            return dict(c.query("select oid, datname from pg_database"))


# said of a cluster that is as it should be: WAL in the clear was asked for, and a rewound server writes
# WAL again before the range that it had begun last
EXPECTED_NOTES = ("is in the clear", "a later one took its place")


# a crash may tear pages and leave keys without files; what it may never leave is content without its key
UNFORGIVABLE = ("no internal key", "cannot be decrypted", "garbled", "signature", "is missing: no sealed")


def verify(node, databases, torn=lambda name: False):
    """
    A clean stop leaves nothing else to be said; only of a directory that is no database's, which an
    interrupted CREATE or DROP DATABASE leaves in the clear too, and of files that may be torn, must no more
    be right than their keys.
    """
    def matters(severity, object_, what):
        parts = object_.split("/")
        if parts[0] == "base" and len(parts) == 3 and parts[1] not in databases or torn(object_):
            return any(u in what for u in UNFORGIVABLE)
        if object_.endswith(".tmp") and "it reads as empty" in what:
            return False  # a kill came before PostgreSQL had written what it renames to its place
        return severity != "NOTE" or not what.endswith(EXPECTED_NOTES)

    found = [f for f in node.verify() if matters(*f)]
    if found:
        raise Lost(f"{node.name}: pgveil verify: {len(found)} findings: {found[:5]}")


def verify_crashed(node):
    bad = [f for f in node.verify() if f[0] == "FINDING" and any(u in f[2] for u in UNFORGIVABLE)]
    if bad:
        raise Lost(f"{node.name}: pgveil verify of what the crash left: {len(bad)} findings: {bad[:5]}")
