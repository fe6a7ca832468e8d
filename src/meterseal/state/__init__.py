"""Durable state: invocation counters that are never given out twice, and a journal for a meter's records.

Nothing here is believed without proof and nothing is half written: a store either holds what was
promised, or says that it is damaged and how to mend it.
"""

from meterseal.state.counters import CounterStore, FileCounters, JournalCounters, MemoryCounters
from meterseal.state.journal import Journal
from meterseal.state.log import Record, read_records

__all__ = [
    "CounterStore",
    "FileCounters",
    "Journal",
    "JournalCounters",
    "MemoryCounters",
    "Record",
    "read_records",
]
