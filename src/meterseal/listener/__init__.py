"""The listener: pushes of meters and customer ports, opened by title, each counter once, strangers put aside.

`Receiver` does it without input and output; `Listener` is its asyncio end with lines that listen (`tcp://`,
`udp://`) and lines that are listened to (`serial://`, `han+tcp://`).
"""

from meterseal.listener.book import Book, Door, Doors
from meterseal.listener.floors import Floors
from meterseal.listener.presets import PRESETS, Preset, preset
from meterseal.listener.quarantine import Quarantine
from meterseal.listener.receiver import WEAK, Received, Receiver, is_weak
from meterseal.listener.service import Listener, Refusals

__all__ = [
    "PRESETS",
    "WEAK",
    "Book",
    "Door",
    "Doors",
    "Floors",
    "Listener",
    "Preset",
    "Quarantine",
    "Received",
    "Receiver",
    "Refusals",
    "is_weak",
    "preset",
]
