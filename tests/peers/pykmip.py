"""PyKMIP as a peer for tests.

server CONFIG LOG VERSIONS      serves until its standard input ends; VERSIONS as 1.4,2.0
client HOST PORT CA CERT KEY VERSION    with one of
    register NAME HEX           as pg_tde registers a key; prints its unique identifier
    find NAME                   prints of each match: identifier, key, algorithm, length, usage mask, state
    activate ID | destroy ID
    revoke ID REASON            CESSATION_OF_OPERATION deactivates, KEY_COMPROMISE compromises
"""

import os
import sys
import threading
import types
import warnings

warnings.simplefilter("ignore")

from kmip.core import enums
from kmip.core.attributes import Name
from kmip.core.factories.attributes import AttributeFactory
from kmip.core.messages import contents
from kmip.pie import client as pie
from kmip.pie import objects as pie_objects


def serve(config, log, versions):
    from kmip.services.server import engine, server

    wanted = [contents.ProtocolVersion(*map(int, v.split("."))) for v in versions.split(",")]
    make = engine.KmipEngine.__init__

    def limited(self, *args, **kwargs):
        make(self, *args, **kwargs)
        self._protocol_versions = wanted

    engine.KmipEngine.__init__ = limited

    # no processes beside this one, which would outlive it: policies stay as they are
    server.multiprocessing = types.SimpleNamespace(Manager=lambda: types.SimpleNamespace(dict=dict))
    server.monitor.PolicyDirectoryMonitor = lambda *_: types.SimpleNamespace(
        start=lambda: None, stop=lambda: None, join=lambda: None
    )

    def end_with_parent():
        os.read(0, 1)
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.argv = ["server", "-f", config, "-l", log]
    server.main()


def talk(host, port, ca, cert, key, version, command, *args):
    with pie.ProxyKmipClient(
        hostname=host,
        port=int(port),
        ca=ca,
        cert=cert,
        key=key,
        ssl_version="PROTOCOL_TLSv1_2",
        config_file=os.devnull,
        kmip_version=enums.KMIPVersion["KMIP_" + version.replace(".", "_")],
    ) as c:
        if command == "register":
            value = bytes.fromhex(args[1])
            print(
                c.register(
                    pie_objects.SymmetricKey(
                        enums.CryptographicAlgorithm.AES,
                        8 * len(value),
                        value,
                        [enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT],
                        args[0],
                    )
                )
            )
        elif command == "find":
            name = AttributeFactory().create_attribute(
                enums.AttributeType.NAME, Name.create(args[0], enums.NameType.UNINTERPRETED_TEXT_STRING)
            )
            for uid in c.locate(attributes=[name]):
                k = c.get(uid)
                wanted = ["Name", "State", "Cryptographic Usage Mask"]
                found = {a.attribute_name.value: a.attribute_value for a in c.get_attributes(uid, wanted)[1]}
                print(
                    uid,
                    k.value.hex(),
                    k.cryptographic_algorithm.name,
                    k.cryptographic_length,
                    found["Cryptographic Usage Mask"].value,
                    found["State"].value.name,
                    found["Name"].name_value.value,
                )
        elif command == "activate":
            c.activate(args[0])
        elif command == "destroy":
            c.destroy(args[0])
        elif command == "revoke":
            c.revoke(enums.RevocationReasonCode[args[1]], args[0])


if sys.argv[1] == "server":
    serve(*sys.argv[2:])
else:
    talk(*sys.argv[2:])
