"""Writes the golden sealed files with Python's cryptography package, from the layout alone.

Run it in an empty directory; its output never changes. All keys are test keys.
"""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

SERVER_KEY = bytes(range(0x40, 0x50))
READ_ONLY = (bytes(range(0x10, 0x20)), bytes(range(0x80, 0xA0)))  # id, seal key
ACTIVE = (bytes(range(0x20, 0x30)), bytes(range(0xA0, 0xC0)))


def gcm(key, iv, aad, plaintext):
    cipher = Cipher(algorithms.AES(key), modes.GCM(iv)).encryptor()
    cipher.authenticate_additional_data(aad)
    return cipher.update(plaintext) + cipher.finalize(), cipher.tag


def seal_key_file():
    info = struct.pack("<Iiqq256s", 1664, -1, 1700000000, 123456, b"golden-server-key")
    sign_iv = bytes([1]) * 16
    out = b"\x50\x47\x56\x01" + struct.pack("<I", 2)
    out += info + sign_iv + gcm(SERVER_KEY, sign_iv, info, b"")[1]
    for state, (key_id, key), iv in ((2, READ_ONLY, 2), (1, ACTIVE, 3)):
        head = key_id + struct.pack("<IIQ", 1, state, 1700000000 + iv)
        iv = bytes([iv]) * 16
        wrapped, tag = gcm(SERVER_KEY, iv, head, key)
        out += head + iv + tag + wrapped + bytes(32)
    iv = bytes([4]) * 16
    return out + iv + gcm(SERVER_KEY, iv, out, b"")[1]


def sealed_file(seal_key, file_id, clear):
    key_id, key = seal_key
    fixed = b"\x50\x47\x56\x53\x45\x41\x4c\x01" + bytes([1, 9]) + struct.pack("<HII", 0, 4096, 512)
    fixed += bytes(12) + key_id + file_id + bytes(32)
    header_key = HKDFExpand(hashes.SHA256(), 32, b"pgveil/sealed/1/header").derive(key)
    copy = (fixed + hmac.digest(header_key, fixed, hashlib.sha256)).ljust(512, b"\0")
    file_key = HKDFExpand(
        hashes.SHA256(), 64, b"pgveil/sealed/1/xts" + bytes([0, 1]) + file_id
    ).derive(key)
    out = copy.ljust(3584, b"\0") + copy
    for unit in range((len(clear) + 511) // 512):
        data = clear[512 * unit : 512 * unit + 512].ljust(512, b"\0")
        if unit == 1:  # a hole: raw zeros, and the clear bytes must be zeros
            assert data == bytes(512)
            out += data
        else:
            tweak = struct.pack("<QQ", unit, 0)
            out += Cipher(algorithms.AES(file_key), modes.XTS(tweak)).encryptor().update(data)
    return out.ljust(len(clear) + 4608, b"\0")


def clear(length):
    """Byte i is (7 i + 3) mod 251, but zero in unit 1."""
    return bytes(0 if i // 512 == 1 else (7 * i + 3) % 251 for i in range(length))


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)


write("pgveil.seal", seal_key_file())
write("active-1500", sealed_file(ACTIVE, bytes(range(0x50, 0x60)), clear(1500)))
write("read-only-300", sealed_file(READ_ONLY, bytes(range(0x60, 0x70)), clear(300)))
