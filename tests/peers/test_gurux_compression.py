"""Compressed APDUs with gurux-dlms: where compression sits is its own doing, the codec is ours."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gurux_dlms.compression.enums.CompressionOperation import CompressionOperation
from gurux_dlms.enums import Conformance
from gurux_dlms.objects.enums import SecuritySuite

from meterseal.crypto import v44
from meterseal.meter import credentials_of
from tests.hostile.raw import running
from tests.peers.conftest import role
from tests.peers.gurux import PATIENCE, Gurux, listed, make


def test_compressed_below_the_protection_both_ways(tmp_path: Path) -> None:
    """The security control's bit, the octets that are compressed, and the general form."""
    done: list[tuple[Any, int, int]] = []

    def compression(asked: Any) -> None:
        work = v44.compress if asked.operation == CompressionOperation.COMPRESS else v44.decompress
        octets = work(bytes(asked.inputData))
        done.append((asked.operation, len(asked.inputData), len(octets)))
        asked.outputData = bytearray(octets)

    config = role("packed", 60, more='compression = "packet-default"')
    with running(tmp_path, config, preset="suite1") as here:
        own = replace(credentials_of(here.meter).role("packed"), counter_start=5_000)
        client = make(own)
        client.ciphering.securitySuite = SecuritySuite.SUITE_1
        client.proposedConformance |= Conformance.GENERAL_PROTECTION
        client.settings._onCompression = compression
        where = urlsplit(here.server.url)
        with socket.create_connection((where.hostname, where.port), PATIENCE) as line:
            peer = Gurux(client, line)
            peer.sign_on()
            client.settings.compressionOptions.enableCompression = True
            found = [(o.objectType, o.version, str(o.logicalName)) for o in peer.objects()]
        association = here.meter.association(60, 1)
        assert association is not None
        expected = listed(association.view.entries(None))
    assert sorted(found) == sorted(expected)
    (sent, *_), (received, packed, plain) = done
    assert (sent, received) == (CompressionOperation.COMPRESS, CompressionOperation.DECOMPRESS)
    assert packed < plain
