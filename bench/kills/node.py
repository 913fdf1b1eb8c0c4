"""A node: a cipher directory, the daemon that serves it, the server on its mount."""

import contextlib
import json
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess

from . import processes
from .patience import Lost, Patience, patiently
from .wire import ANSWER, Connection, Gone, ServerError

PROGRAM = 600  # seconds: no program that is run here takes longer, on a slow machine either

# who is killed between making the file and syncing it leaves it so, on any file system, and PostgreSQL
# wants a person to remove it
EMPTY_LOCK_FILE = b'lock file "postmaster.pid" is empty'

# a rolled back CREATE UNLOGGED TABLE leaves its main fork, empty, until the next checkpoint; when its abort
# record is lost, redo makes the init fork again, and the copy of it does not expect the main fork
ROLLED_BACK = re.compile(rb'FATAL:  could not create file "([\w/]+)": File exists')


def await_end(what, process):
    """Returns the exit code."""
    patiently(f"end of {what}", lambda: process.poll() is not None)
    return process.returncode


def run_patiently(command, env):
    """Runs a program to its end."""
    with subprocess.Popen(command, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        patience = Patience(PROGRAM)
        try:
            while True:
                try:
                    out, err = process.communicate(timeout=1)
                    return subprocess.CompletedProcess(command, process.returncode, out, err)
                except subprocess.TimeoutExpired:
                    patience.spend(f"end of {' '.join(command)}")
        except BaseException:
            process.kill()
            raise


class Tools:
    """Programs, and who runs them: servers never run as root."""

    def __init__(self, launcher, pg):
        self.launcher = launcher
        self.pg = pg
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.env = {"PATH": os.environ["PATH"], "HOME": "/", "LC_ALL": "C.UTF-8"}
        version = subprocess.run([pg / "postgres", "--version"], capture_output=True, text=True, check=True)
        self.version = version.stdout.split()[2]
        self.major = int(self.version.split(".")[0])

    def as_user(self, *args):
        args = [str(a) for a in args]
        if os.geteuid() == 0:
            return ["setpriv", "--reuid", self.user, "--regid", self.user, "--clear-groups", *args]
        return args

    def run(self, *args, accept=(0,), host=None):
        env = self.env | ({"PGHOST": str(host), "PGPORT": "5432", "PGUSER": "postgres"} if host else {})
        done = run_patiently(self.as_user(*args), env)
        if done.returncode not in accept:
            raise Lost(f"{os.path.basename(args[0])} ended with {done.returncode}: "
                       + (done.stdout[-1500:] + done.stderr[-1500:]).strip())
        return done

    def start(self, *args, **options):
        return subprocess.Popen(self.as_user(*args), env=self.env, cwd="/", stdin=subprocess.DEVNULL,
                                start_new_session=True, **options)

    # daemons that live for seconds spend more on the second compiler than it saves
    PGVEIL_ENV = {"PGVEIL_JAVA_OPTS": "-XX:TieredStopAtLevel=1"} | os.environ

    def pgveil(self, *args):
        return run_patiently([str(self.launcher), *[str(a) for a in args]], self.PGVEIL_ENV)


class Node:
    """
    Everything of a node lies in one directory, its Unix socket too: there are no ports to clash.
    The server is a child of this script, and the daemon too (the launcher becomes the JVM).
    """

    def __init__(self, tools, directory, name, settings, store="."):
        self.tools = tools
        self.name = name
        self.dir = directory / name
        self.store = self.dir / store  # of cipher directory and keyrings
        self.cipher = self.store / "cipher"
        self.mount = self.dir / "mount"
        self.conf = self.dir / "node.conf"
        self.log = self.dir / "server.log"
        self.settings = settings
        self.daemon = None
        self.server = None
        self.keys = []  # names of principal keys that exist
        self.mount.mkdir(parents=True)
        directory.chmod(0o755)
        self.dir.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self.dir, tools.user)

    # ---- configuration ----

    def configure(self, **changes):
        """Outside the data directory, as Debian does it."""
        self.settings |= changes
        text = "".join(f"{name} = '{value}'\n" for name, value in (self.settings | {
            "listen_addresses": "", "port": 5432, "unix_socket_directories": self.dir,
            "cluster_name": self.name}).items())
        new = self.conf.with_suffix(".new")
        new.write_text(text)
        new.rename(self.conf)

    def reload(self, **changes):
        self.configure(**changes)
        self.signal_postmaster(signal.SIGHUP)

    # ---- the daemon ----

    def init(self):
        done = self.tools.pgveil("init", self.cipher, "--keyring", self.store / "keyring")
        if done.returncode != 0:
            raise Lost("pgveil init: " + done.stderr)
        self.keys = []

    def launch_daemon(self):
        with open(self.dir / "daemon.out", "ab") as log:
            self.daemon = subprocess.Popen(
                [str(self.tools.launcher), "mount", str(self.cipher), str(self.mount),
                 "--log-file", str(self.dir / "pgveil.log")],
                env=self.tools.PGVEIL_ENV, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
                start_new_session=True)

    def await_daemon(self):
        """Until it has said who it is: then it serves."""
        def serves():
            holder = self.holder()
            return holder.get("pid") == self.daemon.pid and holder.get("mountPoint")

        def alive():
            if self.daemon.poll() is not None:
                raise Lost(f"{self.name}: mount failed: " + tail(self.dir / "daemon.out"))
        patiently(f"{self.name}: mount", serves, alive)

    def start_daemon(self):
        self.launch_daemon()
        self.await_daemon()

    def holder(self):
        try:
            return json.loads((self.cipher / "pg_tde" / "pgveil.lock").read_text())
        except (OSError, ValueError):
            return {}

    def daemon_lives(self):
        return self.daemon is not None and self.daemon.poll() is None

    def control(self, command, **arguments):
        """
        What a pgveil command would send to the daemon; a process for each would leave no time for a kill
        to meet one. None: no answer, done or not. A refusal raises ServerError.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.connect(self.holder()["socket"])
                s.sendall(json.dumps({"command": command} | arguments).encode() + b"\n")
                line = b""
                patience = Patience(ANSWER)
                while not line.endswith(b"\n"):
                    if not select.select([s], [], [], 1)[0]:
                        patience.spend(f"{self.name}: the daemon's answer to {command}")
                        continue
                    got = s.recv(1 << 16)
                    if not got:
                        return None
                    line += got
        except (OSError, KeyError):
            return None
        reply = json.loads(line)
        if reply["reply"] == "failed":
            raise ServerError(reply["exitCode"], reply["message"])
        return reply

    def unmount(self):
        done = self.tools.pgveil("umount", self.mount)
        if done.returncode != 0:
            raise Lost(f"{self.name}: pgveil umount: " + done.stderr)
        await_end(f"{self.name}'s daemon", self.daemon)

    def verify(self):
        """The findings of "pgveil verify", notes too, as (severity, object, what)."""
        done = self.tools.pgveil("verify", "--json", self.cipher)
        try:
            report = json.loads(done.stdout)
        except ValueError as e:
            raise Lost(f"{self.name}: pgveil verify: {done.stdout[-1000:]}{done.stderr[-1000:]}") from e
        found = [(f["severity"], f["object"], f["what"]) for f in report["findings"]]
        if report["leftOut"] or (done.returncode != 0) != any(s == "FINDING" for s, _, _ in found):
            found.append(("FINDING", "report", f"exit code {done.returncode}, {report['leftOut']} left out"))
        return found

    # ---- the server ----

    def initdb(self, segment_megabytes):
        self.tools.run(self.tools.pg / "initdb", "--data-checksums", "-D", self.mount, "-U", "postgres", "-A", "trust",
                       "-N", f"--wal-segsize={segment_megabytes}")

    def launch_server(self):
        with open(self.log, "ab") as log:
            self.log_mark = log.tell()
            self.server = self.tools.start(
                self.tools.pg / "postgres", "-D", self.mount, "-c", f"config_file={self.conf}",
                stdout=log, stderr=log)

    def await_server(self):
        def accepts():
            with contextlib.suppress(Gone), self.connect():
                return True

        def alive():
            if self.server.poll() is None:
                return
            self.remove_what_postgres_trips_over()
            self.launch_server()
        patiently(f"{self.name}: server", accepts, alive)

    def remove_what_postgres_trips_over(self):
        """What it does on every file system and leaves to a person; anything else is a loss."""
        said = self.log_since(self.log_mark)
        left = ROLLED_BACK.search(said)
        if EMPTY_LOCK_FILE in said:
            name = "postmaster.pid"
        elif left and self.is_left_by_rollback(self.mount / left[1].decode()):
            name = left[1].decode()
        else:
            raise Lost(f"{self.name}: the server does not start: " + tail(self.log))
        print(f"{self.name}: PostgreSQL trips over {name}, which it left itself; removed", flush=True)
        self.tools.run("rm", self.mount / name)

    @staticmethod
    def is_left_by_rollback(main):
        return main.stat().st_size == 0 and main.with_name(main.name + "_init").exists()

    def log_since(self, mark):
        with open(self.log, "rb") as f:
            f.seek(mark)
            return f.read()

    def start_server(self):
        self.launch_server()
        self.await_server()

    def connect(self, database="postgres", **options):
        return Connection(self.dir, database, **options)

    def value(self, sql, database="postgres"):
        with self.connect(database) as c:
            return c.value(sql)

    def server_lives(self):
        return self.server is not None and self.server.poll() is None

    def signal_postmaster(self, number):
        if self.server_lives():
            processes.kill(self.server.pid, number)

    def server_processes(self):
        """pid -> command line: the postmaster, its children, and those that it has left behind."""
        title = f"postgres: {self.name}: "
        return {pid: line for pid, (parent, line) in processes.descendants().items()
                if line.startswith(title) or str(self.mount) in line and "postgres" in line
                or self.server is not None and parent == self.server.pid}

    def end_server(self):
        """No process of the old server may go on when the next one starts."""
        seen = set()

        def gone():
            found = self.server_processes()
            seen.update(found)
            for pid in seen:
                processes.kill(pid)
            return not found and not any(processes.lives(pid) for pid in seen)
        patiently(f"{self.name}: end of the server's processes", gone)
        if self.server is not None:
            await_end(f"{self.name}'s server", self.server)

    def stop_server(self):
        self.signal_postmaster(signal.SIGINT)  # a fast shutdown
        code = await_end(f"{self.name}'s server", self.server)
        if code != 0:
            raise Lost(f"{self.name}: the server stops with code {code}: " + tail(self.log))

    # ---- the end ----

    def destroy(self):
        self.end_server()
        if self.daemon_lives():
            self.tools.pgveil("umount", self.mount)
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait(10)
        while os.path.ismount(self.mount) or self._is_in_mountinfo():
            detach = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
            if subprocess.run([*detach, str(self.mount)], capture_output=True).returncode != 0:
                break
        socket_path = self.holder().get("socket")
        if socket_path:  # of a daemon that was killed
            with contextlib.suppress(OSError):
                os.unlink(socket_path)
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(socket_path))

    def _is_in_mountinfo(self):
        with open("/proc/self/mountinfo") as f:
            return any(line.split()[4] == str(self.mount) for line in f)


def tail(path):
    """The end of a log, without what the server says to those who ask whether it is there."""
    try:
        lines = path.read_text(errors="replace")[-50000:].splitlines()
    except OSError as e:
        return str(e)
    noise = ("FATAL:  the database system is", "Consistent recovery state has not been yet reached")
    return "\n".join([line for line in lines if not any(n in line for n in noise)][-20:])
