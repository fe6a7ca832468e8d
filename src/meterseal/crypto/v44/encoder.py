"""The encoder of V.44: the longest string that both ends know, then how far it goes on."""

from __future__ import annotations

from meterseal.crypto.v44.codes import FIRST, FLUSH, PACKET, REINIT, STEPUP, Parameters, length_codes


class _Writer:
    """Codes to octets, with the sizes that STEPUP moves."""

    __slots__ = ("_bits", "_c2", "_c5", "_count", "_first", "_out", "after_codeword")

    def __init__(self, parameters: Parameters) -> None:
        self._out = bytearray()
        self._bits = self._count = 0
        self._first = parameters
        self.restart()

    def restart(self) -> None:
        self._c2, self._c5 = self._first.c2, self._first.c5
        self.after_codeword = False

    def put(self, bits: int, width: int) -> None:
        self._bits |= bits << self._count
        self._count += width
        if self._count >= 64:
            self._out += (self._bits & (1 << 64) - 1).to_bytes(8, "little")
            self._bits >>= 64
            self._count -= 64

    def control(self, code: int) -> None:
        self.put(1 | code << 1, self._c2 + 1)
        self.after_codeword = False

    def ordinal(self, octet: int) -> None:
        if octet >> self._c5:
            self.control(STEPUP)
            self._c5 += 1
        prefix = 2 if self.after_codeword else 1
        self.put(octet << prefix, self._c5 + prefix)
        self.after_codeword = False

    def codeword(self, value: int) -> None:
        while value >> self._c2:
            self.control(STEPUP)
            self._c2 += 1
        self.put(1 | value << 1, self._c2 + 1)
        self.after_codeword = True

    def extension(self, code: tuple[int, int]) -> None:
        self.put(*code)
        self.after_codeword = False

    def end(self) -> bytes:
        self.control(FLUSH)
        self._out += self._bits.to_bytes((self._count + 7) // 8, "little")
        return bytes(self._out)


Children = dict[int, list[int]]
"""Children of a node by the first octet of their segment, in the order of their making."""


class _Tree:
    """The node-tree: node k continues its parent by `size[k]` octets of history from `start[k]` on.

    Lists are indexed by codeword; the control codes' places are unused.
    """

    __slots__ = ("_children", "_roots", "size", "start")

    def __init__(self) -> None:
        self._roots: dict[int, Children] = {}
        self.start = [0] * FIRST
        self.size = [0] * FIRST
        self._children: list[Children | None] = [None] * FIRST

    @property
    def next(self) -> int:
        """The codeword of the next node."""
        return len(self.start)

    def match(self, data: bytes, pos: int, end: int) -> tuple[int, int]:
        """The last node on the longest way from `pos` to `end`, and its string's octets; (0, 1): none."""
        start, size, children = self.start, self.size, self._children
        node, at = 0, pos + 1
        here = self._roots.get(data[pos])
        while here is not None and at < end:
            for k in here.get(data[at], ()):
                length = size[k]
                # The first of the siblings that fits, not the longest: the decoder's numbers ask for it.
                if length == 1 or data.startswith(data[start[k] : start[k] + length], at, end):
                    node, at, here = k, at + length, children[k]
                    break
            else:
                break
        return node, at - pos

    def add(self, parent: int, root: int, octet: int, start: int, size: int) -> None:
        """A node under `parent` (0: under the root of octet `root`) whose segment begins with `octet`."""
        number = len(self.start)
        self.start.append(start)
        self.size.append(size)
        self._children.append(None)
        if parent:
            children = self._children[parent]
            if children is None:
                children = self._children[parent] = {}
        else:
            children = self._roots.setdefault(root, {})
        children.setdefault(octet, []).append(number)


def _common(data: bytes, source: int, at: int, most: int) -> int:
    """How many octets from `source` on equal those from `at` on, `most` at the most; they may overlap."""
    n = 0
    while n < most and data[source + n] == data[at + n]:
        n += 1
    return n


def compress(data: bytes, parameters: Parameters = PACKET) -> bytes:
    """One packet.  It may be longer than `data`: short or random octets grow."""
    n2, n7, codes = parameters.n2, parameters.n7, length_codes(parameters.n7)
    anew, life = parameters.when_full == "reinit", parameters.n8 or len(data)
    writer, tree = _Writer(parameters), _Tree()
    pos, end = 0, min(life, len(data))
    while pos < len(data):
        if anew and (tree.next >= n2 or pos == end):
            writer.control(REINIT)
            writer.restart()
            tree, end = _Tree(), min(pos + life, len(data))
        room = tree.next < n2
        node, total = tree.match(data, pos, end)
        root, pos = data[pos], pos + total
        if not node:
            writer.ordinal(root)
        else:
            writer.codeword(node)
            n = _common(data, tree.start[node] + tree.size[node], pos, min(n7 - total, end - pos))
            if n:
                writer.extension(codes[n])
                if room:
                    tree.add(node, root, data[pos], pos, n)
                pos += n
                continue
        if room and pos < end and total < n7:
            tree.add(node, root, data[pos], pos, 1)
    return writer.end()
