"""All targets: every decoder of octets, of text and of files, and the conversations around them."""

from __future__ import annotations

from fuzz.target import Target
from fuzz.targets import blocks, carried, conversations, decoders, files, layers, lines, meters, streams

TARGETS: tuple[Target, ...] = (
    *decoders.TARGETS,
    *streams.TARGETS,
    *files.TARGETS,
    *layers.TARGETS,
    *carried.TARGETS,
    *lines.TARGETS,
    *blocks.TARGETS,
    *conversations.TARGETS,
    *meters.TARGETS,
)

BY_NAME = {target.name: target for target in TARGETS}
