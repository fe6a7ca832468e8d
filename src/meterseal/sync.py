"""The blocking twin of the front door: `connect` and `link` without asyncio, a loop or a thread.

    with meterseal.sync.connect(url, credentials="meter.toml", role="operator") as meter:
        energy = meter.read("1.0.1.8.0.255")

The same sans-I/O conversation as behind `meterseal.connect`; a `Meter` or `Link` is for one thread.
"""

from meterseal.client.blocking import Link, Meter, connect, link

__all__ = ["Link", "Meter", "connect", "link"]
