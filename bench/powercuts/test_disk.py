"""The model of the disk keeps what was synced, and can lose what was not."""

import random
import re
import tempfile
import unittest
from pathlib import Path

from .disk import EXT4, ROOT, WEAK, Disk
from .recording import Record

MODELS = (EXT4, WEAK)
SHM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # no disk has to keep this
OLD, NEW = b"o" * 4096, b"n" * 4096


class Script:
    """Writes down operations; outcomes() is what cuts after the last one leave, as sets of files."""

    def __init__(self):
        self.records = []
        self.settled = 0

    def op(self, op, a=0, b=0, c=0, d=0, data=b""):
        self.records.append(Record(len(self.records) + 1, op.encode(), a, b, c, d, data))
        return self

    def create(self, node, name, directory=ROOT, op="C"):
        return self.op(op, directory, node, 0o100600 if op == "C" else 0o40700, 0, name.encode())

    def mkdir(self, node, name):
        return self.create(node, name, op="D")

    def write(self, node, data, offset=0):
        return self.op("W", node, offset, data=data)

    def fsync(self, node):
        return self.op("Y", node)

    def fsyncdir(self, node=ROOT):
        return self.op("Z", node)

    def rename(self, old, new):
        return self.op("N", ROOT, ROOT, data=f"{old}/{new}".encode())

    def unlink(self, name):
        return self.op("U", ROOT, data=name.encode())

    def settle(self):
        self.settled = len(self.records)
        return self

    def outcomes(self, model, deaf=None, count=300):
        disk = Disk(model)
        disk.deaf = deaf
        for r in self.records:
            disk.take(r)
            if r.end == self.settled:
                disk.settle()
        found = set()
        for seed in range(count):
            with tempfile.TemporaryDirectory(dir=SHM) as target:
                disk.rebuild(target, random.Random(seed))
                found.add(tuple(sorted((str(p.relative_to(target)), p.read_bytes() if p.is_file() else None)
                                       for p in Path(target).rglob("*"))))
        return found


def existing():
    return Script().create(2, "f").write(2, OLD).settle()


class DiskTest(unittest.TestCase):
    def test_what_was_synced_is_there(self):
        for model in MODELS:
            script = existing().write(2, NEW).fsync(2)
            self.assertEqual(script.outcomes(model), {(("f", NEW),)})

    def test_unsynced_sectors_are_kept_or_lost_one_by_one(self):
        for model in MODELS:
            contents = {files[0][1] for files in existing().write(2, NEW).outcomes(model)}
            self.assertIn(OLD, contents)
            self.assertIn(NEW, contents)
            self.assertGreater(len(contents), 50)
            for content in contents:
                for at in range(0, 4096, 512):
                    self.assertEqual(len(set(content[at:at + 512])), 1)

    def test_a_forgotten_sync_loses(self):
        script = existing().write(2, NEW).fsync(2)
        for model in MODELS:
            self.assertGreater(len(script.outcomes(model, re.compile("^/f$"))), 1)
            self.assertEqual(len(script.outcomes(model, re.compile("^/g$"))), 1)

    def test_a_file_replaced_with_all_syncs_is_old_or_new_and_then_new(self):
        script = existing().create(3, "t").write(3, NEW).fsync(3).rename("t", "f")
        for model in MODELS:
            self.assertEqual({dict(files)["f"] for files in script.outcomes(model)}, {OLD, NEW})
        script.fsyncdir()
        for model in MODELS:
            self.assertEqual(script.outcomes(model), {(("f", NEW),)})

    def test_a_file_replaced_without_its_sync_may_be_empty(self):
        script = existing().create(3, "t").write(3, NEW).rename("t", "f").fsyncdir()
        for model in MODELS:
            self.assertIn((("f", b""),), script.outcomes(model))

    def test_names_keep_their_order_on_ext4_only(self):
        script = existing().create(3, "a").create(4, "b").unlink("f")
        names = {model: {tuple(n for n, _ in files) for files in script.outcomes(model)} for model in MODELS}
        self.assertEqual(names[EXT4], {("f",), ("a", "f"), ("a", "b", "f"), ("a", "b")})
        self.assertLess(names[EXT4], names[WEAK])
        self.assertIn(("b",), names[WEAK])

    def test_a_rename_is_not_durable_by_another_file_without_order(self):
        script = existing().create(3, "t").fsync(3).rename("t", "u").create(4, "g").write(4, NEW).fsync(4)
        self.assertEqual({tuple(n for n, _ in f) for f in script.outcomes(EXT4)}, {("f", "g", "u")})
        self.assertEqual({tuple(n for n, _ in f) for f in script.outcomes(WEAK)}, {("f", "g", "t"), ("f", "g", "u")})

    def test_a_synced_file_has_its_name_and_its_directories(self):
        script = Script().mkdir(2, "d").create(3, "f", 2).fsync(3)
        for model in MODELS:
            self.assertEqual(script.outcomes(model), {(("d", None), ("d/f", b""))})

    def test_growth_holds_what_was_written_on_ext4(self):
        script = existing().write(2, NEW + NEW, 4096)
        contents = {files[0][1] for files in script.outcomes(EXT4)}
        self.assertEqual(contents, {OLD, OLD + NEW, OLD + NEW + NEW})
        contents = {files[0][1] for files in script.outcomes(WEAK)}
        self.assertTrue(any(0 in content for content in contents))

    def test_truncation_is_in_the_order_of_names_on_ext4(self):
        script = existing().op("T", 2, 0).write(2, NEW).create(3, "g")
        for files in script.outcomes(EXT4):
            if len(files) == 2:
                self.assertIn(files[0][1], (b"", NEW))


if __name__ == "__main__":
    unittest.main()
