"""A disk that loses power: what it must still hold, and what it may.

Data, in both models: of what was written to a file since its last fsync, each sector of 512 bytes of each
write is on the disk or not, whatever became of the others.

ext4, data=ordered
  Names, truncations and fallocate are in the journal in their order: a prefix of it is on the disk, which
  reaches at least as far as the last sync made it. fsync of a file that has grown commits all of the journal;
  of another file, up to its last change of that kind (its creation, say); of a directory, up to the last change in it.
  A file that has grown since has its old size, or one of the later ones, or the end of a block between, and
  what lies in the growth was written, except where a hole was left below it (delayed allocation).

weak: no order at all
  A new name is durable by a fsync of its file or directory, with the directories above it, as on all usual
  file systems of Linux; all other changes of names by a fsync of the directory only (of a rename: the one it
  led to). Until then each is on the disk or not, a rename as a whole. A size is durable by a fsync of
  the file; until then each growth, truncation and fallocate is there or not, and a growth may be zeros.
"""

import os

from .recording import text

ROOT = 1
SECTOR = 512
BLOCK = 4096
KEEP_SIZE, PUNCH, ZERO = 1, 2, 16  # of fallocate(2)

EXT4, WEAK = "ext4", "weak"


class Inode:
    __slots__ = ("number", "directory", "mode", "owner", "durable", "pending", "size", "last", "parent", "name")

    def __init__(self, number, directory, mode, owner, birth, parent):
        self.number = number
        self.directory = directory
        self.mode = mode
        self.owner = owner
        self.durable = bytearray()  # content as of the last fsync
        self.pending = []  # what came since: (op, offset, data or size or (size, mode), index)
        self.size = 0  # as the daemon sees it
        self.last = birth  # index of its last change in the journal
        self.parent, self.name = parent, ""  # as last named


class Change:
    """Of names: takes a name away, gives one to an inode, or both at once."""

    __slots__ = ("index", "gone", "come", "inode", "durable")

    def __init__(self, index, gone, come, inode):
        self.index = index
        self.gone = gone  # (directory, name) or None
        self.come = come
        self.inode = inode
        self.durable = False

    def apply(self, names):
        if self.gone and names.get(self.gone) == self.inode:
            del names[self.gone]
        if self.come:
            names[self.come] = self.inode


class Disk:
    """Takes records in their order; rebuild() makes a directory that a cut after the last one could leave."""

    def __init__(self, model):
        self.model = model
        self.deaf = None  # takes no notice of syncs of paths in which this pattern is found
        self.inodes = {ROOT: Inode(ROOT, True, 0o40755, None, 0, ROOT)}
        self.now = {}  # (directory, name) -> inode number, as the daemon sees it
        self.base = {}  # the same, of the changes that are durable for certain
        self.changes = []  # those after
        self.births = {}  # inode number -> Change
        self.index = 0  # of the last change in the journal
        self.committed = 0  # ext4: this far the journal is on the disk

    # ---- what comes in ----

    def take(self, record):
        getattr(self, "_" + record.op.decode())(record)

    def _change(self, gone, come, inode):
        self.index += 1
        change = Change(self.index, gone, come, inode)
        change.apply(self.now)
        self.changes.append(change)
        for place in (gone, come):
            if place:
                self.inodes[place[0]].last = self.index
        if come:
            self.inodes[inode].parent, self.inodes[inode].name = come
        return change

    def path(self, i):
        return "" if i.number == ROOT else f"{self.path(self.inodes[i.parent])}/{i.name}"

    def _hears(self, i):
        return self.deaf is None or not self.deaf.search(self.path(i))

    def _new(self, r, directory):
        self.inodes[r.b] = Inode(r.b, directory, r.c, r.d, self.index + 1, r.a)
        self.births[r.b] = self._change(None, (r.a, text(r.data)), r.b)

    def _C(self, r):
        self._new(r, False)

    def _D(self, r):
        self._new(r, True)

    def _U(self, r):
        place = (r.a, text(r.data))
        self._change(place, None, self.now[place])

    _R = _U

    def _N(self, r):
        if r.c not in (0, 1):
            raise ValueError("an exchange of names is not modelled")
        old, new = text(r.data).split("/")
        self._change((r.a, old), (r.b, new), self.now[(r.a, old)])

    def _L(self, r):
        self._change(None, (r.b, text(r.data)), r.a)

    def _M(self, r):
        # taken as durable at once: nobody's recovery depends on it
        self.inodes[r.a].mode, self.inodes[r.a].owner = r.b, r.c

    def _W(self, r):
        i = self.inodes[r.a]
        i.pending.append((b"W", r.b, r.data, 0))
        i.size = max(i.size, r.b + len(r.data))

    def _T(self, r):
        i = self.inodes[r.a]
        self.index += 1
        i.last = self.index
        i.pending.append((b"T", r.b, None, self.index))
        i.size = r.b

    def _F(self, r):
        i = self.inodes[r.a]
        self.index += 1
        i.last = self.index
        i.pending.append((b"F", r.b, (r.c, r.d), self.index))
        if not r.d & KEEP_SIZE:
            i.size = max(i.size, r.b + r.c)

    def _Y(self, r):
        i = self.inodes[r.a]
        if not self._hears(i):
            return
        grown = i.size > len(i.durable)
        for op in i.pending:
            put(i.durable, op)
        i.pending.clear()
        self._commit(self.index if grown else i.last)
        if self.model == WEAK:
            self._born(i)

    def _Z(self, r):
        directory = self.inodes[r.a]
        if not self._hears(directory):
            return
        self._commit(directory.last)
        if self.model == WEAK:
            self._born(directory)
            for change in self.changes:
                if (change.come or change.gone)[0] == r.a:
                    change.durable = True
            self._settle()

    def _commit(self, index):
        if self.model == EXT4 and index > self.committed:
            self.committed = index
            for change in self.changes:
                change.durable |= change.index <= index
            self._settle()

    def _born(self, i):
        while i.number != ROOT:
            birth = self.births[i.number]
            birth.durable = True
            i = self.inodes[birth.come[0]]
        self._settle()

    def _settle(self):
        """What is durable, with all before it, needs no thought any more."""
        done = 0
        for change in self.changes:
            if not change.durable:
                break
            change.apply(self.base)
            done += 1
        del self.changes[:done]

    def settle(self):
        """As if all had been synced: a recording starts here."""
        for i in self.inodes.values():
            for op in i.pending:
                put(i.durable, op)
            i.pending.clear()
        for change in self.changes:
            change.durable = True
        self.committed = self.index
        self._settle()

    # ---- what is left ----

    def rebuild(self, target, rng):
        """Writes a directory; returns what was decided, for people."""
        if self.model == EXT4:
            last = rng.choice((self.committed, self.index, rng.randint(self.committed, self.index)))
            kept = [c for c in self.changes if c.index <= last]
        else:
            last = self.index
            share = rng.choice((0.0, 0.1, 0.5, 0.9, 1.0))
            kept = [c for c in self.changes if c.durable or rng.random() < share]
        names = dict(self.base)
        for change in kept:
            change.apply(names)
        habits = rng.choice(((keep_none,), (keep_all,), HABITS, HABITS))
        children = {}  # directory -> [(name, inode)]
        for (directory, name), inode in names.items():
            children.setdefault(directory, []).append((name, inode))
        self._write(target, ROOT, children, {}, last, habits, rng)
        return (f"{len(kept)} of {len(self.changes)} changes of names, "
                f"unsynced data {'/'.join(h.__name__[5:] for h in habits)}")

    def _write(self, path, number, children, written, last, habits, rng):
        for name, inode in sorted(children.get(number, ())):
            i = self.inodes[inode]
            to = os.path.join(path, name)
            if i.directory:
                os.mkdir(to)
                self._write(to, inode, children, written, last, habits, rng)
            elif inode in written:
                os.link(written[inode], to)
                continue
            else:
                written[inode] = to
                with open(to, "wb") as f:
                    f.write(self.content(i, last, rng.choice(habits), rng))
            os.chmod(to, i.mode & 0o7777)
            if os.geteuid() == 0:
                os.chown(to, i.owner >> 32, i.owner & 0xffffffff)

    def content(self, i, last, keeps, rng):
        if not i.pending:
            return i.durable
        content = bytearray(i.durable)
        count = len(i.pending)
        for number, op in enumerate(i.pending):
            kind, offset, data, index = op
            if kind == b"W":
                kept = [keeps(rng, number, count) for _ in sectors(offset, len(data))]
                self._store(content, offset, data, kept, rng)
            elif self.model == WEAK:
                if keeps(rng, number, count):
                    put(content, op)
            elif index <= last:
                put(content, op)
            else:
                break  # what came later lies in blocks that it gave or took, or is left out here
        return content

    def _store(self, content, offset, data, kept, rng):
        end = offset + len(data)
        old = len(content)
        if end > old:
            grow(content, self._grown(offset, end, old, kept, rng))
        for (begin, stop), keep in zip(sectors(offset, len(data)), kept, strict=True):
            # ext4: data before the size that covers it
            if keep or self.model == EXT4 and stop > old:
                stop = min(stop, len(content))
                if begin < stop:
                    content[begin:stop] = data[begin - offset:stop - offset]

    def _grown(self, offset, end, old, kept, rng):
        """The size after a write that goes beyond the old one."""
        if self.model == WEAK:
            return end if any(kept) or rng.random() < 0.2 else old
        if all(kept):
            return end
        if not any(kept):
            return old
        between = range((max(offset, old) // BLOCK + 1) * BLOCK, end, BLOCK)
        return rng.choice((old, end, *between))


def sectors(offset, size):
    """Where a write touches each: (begin, end)."""
    begin = offset
    while begin < offset + size:
        stop = min((begin // SECTOR + 1) * SECTOR, offset + size)
        yield begin, stop
        begin = stop


def put(content, op):
    kind, offset, data, _ = op
    if kind == b"W":
        grow(content, offset)
        content[offset:offset + len(data)] = data
    elif kind == b"T":
        grow(content, offset)
        del content[offset:]
    else:
        size, mode = data
        if not mode & KEEP_SIZE:
            grow(content, offset + size)
        if mode & (PUNCH | ZERO):
            end = min(offset + size, len(content))
            content[offset:end] = bytes(max(0, end - offset))


def grow(content, size):
    if size > len(content):
        content.extend(bytes(size - len(content)))


# ---- habits: whether a sector of an operation (its number, of so many) is on the disk ----

def keep_none(rng, number, count):
    return False


def keep_all(rng, number, count):
    return True


def keep_few(rng, number, count):
    return rng.random() < 0.1


def keep_half(rng, number, count):
    return rng.random() < 0.5


def keep_most(rng, number, count):
    return rng.random() < 0.9


def keep_old(rng, number, count):
    return number < count - 1 or rng.random() < 0.5  # the last write is torn


def keep_new(rng, number, count):
    return number == count - 1


HABITS = (keep_none, keep_all, keep_few, keep_half, keep_most, keep_old, keep_new)
