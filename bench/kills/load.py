"""The load, and what it knows.

Every worker keeps, outside the server, what must be true: what was acknowledged, and what was asked when
the server went away and so may be done or not, but wholly. check() compares and then knows for certain.
A worker outlives the servers; Runner lets it work on one of them until that is killed.
"""

import subprocess
import threading
import time

from .patience import Lost
from .wire import Gone, ServerError

JOURNAL_CLIENTS = (1, 2, 3)
SERVER, DEFAULT = 1664, 1663  # pseudo-OIDs of scopes

SCHEMA = """
create table journal(client int, n int, lo oid, primary key(client, n));
create table wide(client int, n int, k int, pad text, primary key(client, n, k));
alter table wide alter pad set storage external;
create table archive(round int, client int, n int, total bigint, primary key(round, client));
create unlogged table scratch(a int primary key, b text);
create function pad(client int, n int, k int) returns text immutable language sql
  return repeat(md5(client || ':' || n || ':' || k), 90);
"""


class Runner(threading.Thread):
    def __init__(self, node, worker, rng):
        super().__init__(daemon=True)
        self.node = node
        self.worker = worker
        self.rng = rng
        self.done = threading.Event()
        self.connection = None
        self.error = None  # (when, what): an answer that nobody expects before a kill

    def end(self):
        """A client whose server died may wait for an answer for ever."""
        self.done.set()
        if self.connection is not None:
            self.connection.interrupt()

    def run(self):
        try:
            with self.node.connect() as self.connection:
                self.worker.begin(self.connection)
                while not self.done.is_set():
                    self.worker.step(self.node, self.connection, self.rng, self.done)
        except Gone as e:
            self.error = (time.monotonic(), f"gone: {e}")
        except (ServerError, OSError, Lost) as e:
            self.error = (time.monotonic(), str(e))


class Worker:
    """Does one thing after another, each by step()."""

    def begin(self, c):
        pass

    def step(self, node, c, rng, done):
        raise NotImplementedError


class Journal(Worker):
    """One client that inserts numbers, each in several places at once."""

    def __init__(self, client):
        self.client = client
        self.next = 1
        self.present = set()
        self.doubt = set()
        self.archived = {}  # round -> (count, sum)
        self.total = 0

    def begin(self, c):
        c.query(f"set synchronous_commit = {'remote_apply' if self.client == 2 else 'on'}")

    def _insert(self, n):
        lo = f"lo_from_bytea(0, convert_to(pad({self.client}, {n}, 9), 'UTF8'))" if n % 4 == 0 else "null"
        return (f"with j as (insert into journal values ({self.client}, {n}, {lo}))"
                f" insert into wide select {self.client}, {n}, k, pad({self.client}, {n}, k)"
                " from generate_series(1, 2) k")

    def step(self, node, c, rng, done):
        n = self.next
        self.next += 1
        gid = f"{self.client}_{n}"
        kind = rng.choices(("plain", "block", "temporary", "undone", "prepared"), (8, 3, 1, 1, 2))[0]
        self.doubt.add(n)
        if kind == "plain":
            c.query(self._insert(n))
        elif kind == "prepared":
            c.query("begin")
            c.query(self._insert(n))
            c.query(f"prepare transaction '{gid}'")
            fate = rng.random()
            if fate < 0.2:
                c.query(f"rollback prepared '{gid}'")
                self.doubt.discard(n)
                return
            self.present.add(n)  # prepared is a promise already
            if fate < 0.9:
                c.query(f"commit prepared '{gid}'")
        else:
            c.query("begin")
            if kind == "temporary":
                c.query("create temp table if not exists t(a int, b text);"
                        "insert into t select i, repeat(md5(i::text), 30) from generate_series(1, 500) i")
            c.query(self._insert(n) + "; savepoint s; delete from journal; rollback to s" if n % 2
                    else self._insert(n))
            if kind == "undone":
                c.query("rollback")
                self.doubt.discard(n)
                return
            c.query("commit")
        self.present.add(n)
        self.doubt.discard(n)
        self.total += 1

    def check(self, c):
        there = {int(n) for (n,) in c.query(f"select n from journal where client = {self.client}")}
        gone = sorted(self.present - there)
        if gone:
            raise Lost(f"client {self.client}: {len(gone)} acknowledged transactions are gone: {gone[:5]}")
        more = sorted(there - self.present - self.doubt)
        if more:
            raise Lost(f"client {self.client}: {len(more)} transactions are there that were undone: {more[:5]}")
        archived = {int(r): (int(n), int(s)) for r, n, s in
                    c.query(f"select round, n, total from archive where client = {self.client}")}
        if archived != self.archived:
            raise Lost(f"client {self.client}: the archive holds {archived}, not {self.archived}")
        found = len(there & self.doubt)
        doubted = len(self.doubt)
        self.present, self.doubt = there, set()
        return found, doubted

    def archive(self, c, round_):
        """Keeps the tables small. One transaction, and nothing is killed meanwhile."""
        if not self.present:
            return
        c.query(
            f"insert into archive select {round_}, client, count(*), sum(n) from journal"
            f" where client = {self.client} group by client;"
            f"select lo_unlink(lo) from journal where client = {self.client} and lo is not null;"
            f"delete from wide where client = {self.client}; delete from journal where client = {self.client}")
        self.archived[round_] = (len(self.present), sum(self.present))
        self.present = set()


def settle_prepared(node, journals):
    """Whoever is prepared was promised, or in doubt: it is committed now."""
    by_client = {j.client: j for j in journals}
    with node.connect() as c:
        for (gid,) in c.query("select gid from pg_prepared_xacts"):
            client, n = map(int, gid.split("_"))
            journal = by_client[client]
            if n not in journal.present and n not in journal.doubt:
                raise Lost(f"transaction {gid} is prepared, and was rolled back or committed")
            c.query(f"commit prepared '{gid}'")
        # an acknowledged write behind all that a standby is asked for
        c.query("insert into scratch values (0, 'x') on conflict (a) do update set b = scratch.b || 'x';"
                "select txid_current()")


WHOLE = """
select 'journal ' || client || ' ' || n from journal j where (select count(*) from wide w
    where w.client = j.client and w.n = j.n and w.pad = pad(w.client, w.n, w.k)) <> 2
  or (lo is not null) <> (n % 4 = 0) or lo is not null and lo_get(lo) <> convert_to(pad(client, n, 9), 'UTF8')
union all select 'wide ' || client || ' ' || n from wide w
  where not exists (select from journal j where j.client = w.client and j.n = w.n)
union all select 'large object ' || oid from pg_largeobject_metadata m
  where not exists (select from journal where lo = m.oid)
"""

SUMS = """
select (select sum(abalance) from pgbench_accounts), (select sum(bbalance) from pgbench_branches),
  (select sum(tbalance) from pgbench_tellers), (select coalesce(sum(delta), 0) from pgbench_history)
"""


def check_whole(c):
    parts = c.query(WHOLE)
    if parts:
        raise Lost(f"{len(parts)} transactions are there in part: {[p for (p,) in parts[:5]]}")


def check_sums(c):
    sums = c.query(SUMS)[0]
    if len(set(sums)) != 1:
        raise Lost(f"the sums of the TPC-B tables differ: {sums}")


class Tables(Worker):
    """Makes, rewrites and drops tables. A state is None or (persistence, rows, generation)."""

    def __init__(self, number, in_place_tablespace):
        self.names = [f"t{number}_{i}" for i in range(3)]
        self.states = {name: {None} for name in self.names}
        self.generation = 0
        self.tablespaces = ["pg_default"] + (["inplace"] if in_place_tablespace else [])

    @staticmethod
    def _rows(name, first, last, generation):
        return (f"insert into {name} select i, {generation}, repeat(md5({generation} || ':' || i), 40)"
                f" from generate_series({first}, {last}) i")

    def step(self, node, c, rng, done):
        name = rng.choice(self.names)
        (state,) = self.states[name]
        if state is None:
            persistence = rng.choice("ppu")
            self.generation += 1
            rows = rng.randrange(1, 400)
            sql = (f"create {'unlogged' if persistence == 'u' else ''} table {name}(i int, g int, v text)"
                   f" tablespace {rng.choice(self.tablespaces)};"
                   f"create index on {name} using {rng.choice(('btree', 'hash'))} (i);"
                   + self._rows(name, 1, rows, self.generation))
            self._do(c, name, sql, (persistence, rows, self.generation))
            return
        persistence, rows, generation = state
        what = rng.randrange(14)
        after = state
        if what == 0:
            sql, after = f"drop table {name}", None
        elif what == 1:
            sql = f"vacuum (full, analyze) {name}"
        elif what == 2:
            sql, after = f"truncate {name}", (persistence, 0, 0)
        elif what == 3:
            sql = f"reindex table {name}"
        elif what == 4 and rows:
            self.generation += 1
            after = (persistence, rows, self.generation)
            sql = (f"update {name} set g = {self.generation}, v = repeat(md5({self.generation} || ':' || i), 40)")
        elif what == 5 and rows < 1000:
            generation = generation or self.generation
            more = rng.randrange(1, 200)
            after = (persistence, rows + more, generation)
            sql = self._rows(name, rows + 1, rows + more, generation)
        elif what == 6:
            after = ("u" if persistence == "p" else "p", rows, generation)
            sql = f"alter table {name} set {'unlogged' if persistence == 'p' else 'logged'}"
        elif what == 7:
            sql = f"alter table {name} set tablespace {rng.choice(self.tablespaces)}"
        elif what == 8:
            sql = f"begin; drop table {name}; create table {name}(a int); insert into {name} values (1); rollback"
        elif what == 9:
            sql = "checkpoint"
        elif what == 10:
            sql = "select pg_switch_wal()"
        elif what == 11:
            sql = "select count(distinct repeat(md5(i::text), 8)) from generate_series(1, 3000) i"
        elif what == 12:
            sql = f"vacuum {name}"
        elif rng.random() < 0.3:
            sql = "alter system " + rng.choice(("set pg_tde.wal_encrypt = off", "set pg_tde.wal_encrypt = on",
                                                "reset pg_tde.wal_encrypt"))
        else:
            sql = f"analyze {name}"
        self._do(c, name, sql, after)

    def _do(self, c, name, sql, after):
        before = self.states[name]
        self.states[name] = before | {after}
        c.query(sql)
        self.states[name] = {after}

    def read(self, c, name):
        kind = c.value(f"select relpersistence from pg_class where relname = '{name}'")
        if kind is None:
            return None
        (row,) = c.query(
            f"select count(*), coalesce(min(g), 0), coalesce(max(g), 0), coalesce(bool_and(v = repeat(md5(g || ':' || i),"
            f" 40)), true), count(distinct i) from {name}")
        rows, low, high, right, distinct = row
        if right != "t" or low != high or rows != distinct:
            raise Lost(f"table {name} holds {rows} rows, {distinct} of them different, of generations {low} to {high}"
                       f", content {'right' if right == 't' else 'wrong'}")
        by_index = c.value("begin; set local enable_seqscan = off; set local enable_bitmapscan = off; select count(*)"
                           f" from generate_series(1, 1500) k where exists (select from {name} where i = k); commit")
        if by_index != rows:
            raise Lost(f"table {name} holds {rows} rows, its index finds {by_index}")
        return kind, int(rows), int(low)

    def check(self, c, crashed):
        """crashed: True if recovery must have emptied unlogged tables, None if that is not known."""
        for name in self.names:
            possible = self.states[name]
            if crashed is not False:
                emptied = {("u", 0, 0) for s in possible if s and s[0] == "u"}
                kept = possible if crashed is None else {s for s in possible if not s or s[0] != "u"}
                possible = kept | emptied
            state = self.read(c, name)
            if state not in possible:
                raise Lost(f"table {name} is {state}, not one of {possible}")
            if state and state[0] == "u" and state[1] == 0:
                self.generation += 1
                c.query(self._rows(name, 1, 20, self.generation))
                state = ("u", 20, self.generation)
                if self.read(c, name) != state:
                    raise Lost(f"unlogged table {name} cannot be used after recovery")
            self.states[name] = {state}


INIT_FORKS = """
select c.oid::regclass::text from pg_class c where c.relpersistence = 'u' and c.relkind in ('r', 'i', 't')
  and pg_stat_file(pg_relation_filepath(c.oid) || '_init', true) is null
"""


def check_init_forks(c):
    missing = [name for (name,) in c.query(INIT_FORKS)]
    if missing:
        raise Lost(f"unlogged relations without init fork: {missing}")


class Databases(Worker):
    """Makes and drops databases, by both strategies, and gives them keys of their own."""

    ROWS = 200

    def __init__(self, major):
        self.states = {name: {False} for name in ("d0", "d1")}
        self.strategies = ("strategy wal_log", "strategy file_copy") if major >= 15 else ("",)

    def step(self, node, c, rng, done):
        name = rng.choice(list(self.states))
        (exists,) = self.states[name]
        if exists and rng.random() < 0.4:
            oid = int(c.value(f"select oid from pg_database where datname = '{name}'"))
            for key in rng.sample(node.keys, min(2, len(node.keys))):
                node.control("key-set", scope=oid, key=key, provider="keyring")
            if rng.random() < 0.5:
                try:
                    node.control("key-delete", scope=oid)
                except ServerError:
                    pass  # it has none of its own yet
        else:
            sql = f"drop database {name}" if exists else f"create database {name} {rng.choice(self.strategies)}"
            self.states[name] = {False, True}
            try:
                c.query(sql)
                self.states[name] = {not exists}
            except ServerError as e:
                if e.state != "55006":  # autovacuum was there
                    raise
                self.states[name] = {exists}
        done.wait(rng.uniform(0, 0.1))

    def check(self, node, c):
        limits = dict(c.query("select datname, datconnlimit from pg_database"))
        for name, possible in self.states.items():
            exists = name in limits
            if exists not in possible:
                raise Lost(f"database {name} is {'there' if exists else 'not there'}: that was undone or acknowledged")
            if exists and limits[name] == "-2":
                # half dropped: PostgreSQL says so and has it dropped again
                if possible == {True}:
                    raise Lost(f"database {name} is half dropped, and nobody had asked for it")
                c.query(f"drop database {name}")
                exists = False
            self.states[name] = {exists}
            if exists:
                with node.connect(name) as inside:
                    row = inside.query("select count(*), bool_and(v = md5(i::text)) from inside")[0]
                if row != [str(self.ROWS), "t"]:
                    raise Lost(f"database {name} holds {row}")


class Keys(Worker):
    """Rotates the principal keys of one node, of every scope, and switches the encryption of WAL."""

    def __init__(self, node, database):
        self.node = node
        self.database = database
        self.serial = 0
        self.local = []
        self.set_count = 0
        node.control("provider-add", provider="local", type="file", database=database,
                     options={"path": str(node.store / "keyring-local")})
        self.scopes = {oid: {name} for oid, name in self._list().items()}

    def _list(self):
        reply = self.node.control("key-list")
        if reply is None:
            raise Lost(f"{self.node.name}: the daemon does not answer")
        return {k["oid"]: k["key"] for k in reply["keys"] if k["oid"] in (SERVER, DEFAULT, self.database)}

    def step(self, node, c, rng, done):
        what = rng.randrange(12)
        if not node.keys or what == 0:
            node.keys.append(self._create("k", provider="keyring"))
        elif not self.local or what == 1:
            self.local.append(self._create("l", provider="local", database=self.database))
        elif what == 2:
            self._change({self.database: self.scopes[DEFAULT]}, "key-delete", scope=self.database)
        elif what == 3:
            key = rng.choice(self.local)
            self._change({self.database: {key}}, "key-set", scope=self.database, key=key, provider="local",
                         database=self.database)
        elif what == 4:
            node.configure(**{"pg_tde.wal_encrypt": rng.choice(("on", "on", "off"))})
        else:
            scope = rng.choice((SERVER, DEFAULT, self.database))
            key = rng.choice(node.keys)
            targets = {scope}
            if scope == DEFAULT:  # takes with it who has the same key
                targets |= {s for s, names in self.scopes.items() if names & self.scopes[DEFAULT]}
            self._change({s: {key} for s in targets}, "key-set", scope=scope, key=key, provider="keyring")
        done.wait(rng.uniform(0, 0.05))

    def _create(self, prefix, **arguments):
        self.serial += 1  # a name whose creation is in doubt is not used again
        key = f"{prefix}-{self.serial}"
        self._ask("key-create", key=key, **arguments)
        return key

    def _ask(self, command, **arguments):
        reply = self.node.control(command, **arguments)
        if reply is None:
            raise Gone("no answer")
        return reply

    def _change(self, after, command, **arguments):
        before = dict(self.scopes)
        for scope, names in after.items():
            self.scopes[scope] = self.scopes[scope] | names
        try:
            self._ask(command, **arguments)
        except ServerError:
            self.scopes = before
            if command != "key-delete":  # refused if the database has no key of its own
                raise
            return
        self.scopes |= after
        self.set_count += 1

    def check(self):
        found = self._list()
        for scope, names in self.scopes.items():
            if found.get(scope) not in names:
                raise Lost(f"{self.node.name}: the principal key of scope {scope} is {found.get(scope)}, not {names}")
            self.scopes[scope] = {found[scope]}
            if self.node.control("key-verify", scope=scope) is None:
                raise Lost(f"{self.node.name}: the daemon does not answer")


class Bench:
    """pgbench, TPC-B."""

    def __init__(self, node, log):
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                node.tools.as_user(node.tools.pg / "pgbench", "-n", "-h", node.dir, "-p", "5432", "-U", "postgres",
                                   "-c", "2", "-T", "600", "postgres"),
                env=node.tools.env, cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def end(self):
        self.process.kill()
        self.process.wait()
