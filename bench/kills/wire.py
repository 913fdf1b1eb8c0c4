"""A client for PostgreSQL that knows what it does not know.

psql and libpq cost a process or a package, and answer "failed" where a loop that kills servers must
tell two things apart: the server said no, so nothing was done (ServerError), and the server was gone
before it answered, so anything may have been done (Gone).
Protocol 3.0, simple queries, trust, Unix socket.
"""

import select
import socket
import struct

from .patience import Patience

# what a backend says on its way out: whether the statement was done is not known
LEAVING = ("57P01", "57P02", "57P03", "57P05")

ANSWER = 240  # seconds: more than any statement here takes on a slow machine


class Gone(Exception):
    """No answer: what was asked is done or not."""


class ServerError(Exception):
    """The server refused; the transaction is undone."""

    def __init__(self, state, message):
        super().__init__(f"{state} {message}")
        self.state = state


class Connection:
    def __init__(self, directory, database="postgres", user="postgres", patience=ANSWER):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.patience = patience
        self.buffer = b""
        parameters = {"user": user, "database": database, "application_name": "crash",
                      "client_min_messages": "error"}
        body = struct.pack("!i", 3 << 16)
        for name, value in parameters.items():
            body += name.encode() + b"\0" + value.encode() + b"\0"
        body += b"\0"
        try:
            self.socket.connect(f"{directory}/.s.PGSQL.5432")
            self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
            self._answer()
        except OSError as e:
            self.close()
            raise Gone(str(e)) from e
        except (Gone, ServerError):
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def query(self, sql):
        """The rows of the last statement, each a list of texts. Several statements are one transaction."""
        body = sql.encode() + b"\0"
        try:
            self.socket.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)
            return self._answer()
        except OSError as e:
            raise Gone(str(e)) from e

    def value(self, sql):
        rows = self.query(sql)
        return rows[0][0] if rows else None

    def interrupt(self):
        """From another thread: whoever waits for an answer is told that the server is gone."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self.socket.close()

    def _read(self, count):
        patience = Patience(self.patience)
        while len(self.buffer) < count:
            if not select.select([self.socket], [], [], 1)[0]:
                patience.spend("an answer of the server")
                continue
            got = self.socket.recv(1 << 16)
            if not got:
                raise Gone("the server closed the connection")
            self.buffer += got
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def _answer(self):
        rows = []
        error = None
        while True:
            kind, length = struct.unpack("!ci", self._read(5))
            body = self._read(length - 4)
            if kind == b"Z":
                if error:
                    raise error
                return rows
            if kind == b"T":
                rows = []
            elif kind == b"D":
                rows.append(self._row(body))
            elif kind == b"E":
                fields = {f[:1]: f[1:].decode(errors="replace") for f in body.split(b"\0") if f}
                state, text = fields.get(b"C", ""), fields.get(b"M", "")
                if fields.get(b"V") in ("FATAL", "PANIC"):
                    if state in LEAVING or fields[b"V"] == "PANIC":
                        raise Gone(f"{state} {text}")
                    raise ServerError(state, text)
                error = ServerError(state, text)
            elif kind == b"R" and body != b"\0\0\0\0":
                raise ServerError("28000", "the server wants a password")

    @staticmethod
    def _row(body):
        row = []
        at = 2
        for _ in range(struct.unpack_from("!h", body)[0]):
            (length,) = struct.unpack_from("!i", body, at)
            at += 4
            if length < 0:
                row.append(None)
            else:
                row.append(body[at:at + length].decode())
                at += length
        return row
