"""Rules read off the source: constant-time compares, one backend, one random source, one-shot opening."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import meterseal
from meterseal import crypto

SOURCE = Path(meterseal.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All of a module's, walked once for all rules."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))))


@cache
def inside(*packages: str) -> tuple[Path, ...]:
    """The modules of those packages that are there already."""
    return tuple(path for path in MODULES if path.relative_to(SOURCE).parts[0] in packages)


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}"


# --- I01: what is secret is compared in constant time -------------------------------------------

SECRET_WORDS = {
    *("ek", "ak", "kek", "dek", "guek", "gak", "gbek", "key_octets", "kcv_octets"),
    *("tag", "mac", "gmac", "digest", "proof", "secret", "password", "prove", "wrapped"),
}
PUBLIC = "# public"
"""A comment that starts so, on the line of the comparison, says that nothing secret is compared."""


def spoken(node: ast.expr) -> str:
    """The last word of what an expression is called: `self.own_tag[:12]` -> tag, `key.tag(...)` -> tag."""
    while isinstance(node, ast.Subscript | ast.Call):
        node = node.value if isinstance(node, ast.Subscript) else node.func
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name if name in SECRET_WORDS else name.lower().rsplit("_", 1)[-1]


def is_public(node: ast.expr) -> bool:
    """Numbers, names of constants, members of classes, one octet of many: nobody keeps those secret."""
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, bytes) or not node.value
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return isinstance(node.slice.value, int)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id[:1].isupper():
        return True
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.isupper()


def unsafe_compares(text: str) -> Iterator[int]:
    """Lines that compare something called a secret with == or !=, not ones with `in` or `is`."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Compare) or PUBLIC in lines[node.lineno - 1]:
            continue
        sides = [node.left, *node.comparators]
        equality = any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        if (
            equality
            and any(spoken(side) in SECRET_WORDS for side in sides)
            and not any(map(is_public, sides))
        ):
            yield node.lineno


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tag == other", True),
        ("key.tag(1, 2) != received", True),
        ("body[12:] == self.own_tag", True),
        ("sha256(x).digest() == proof", True),
        ("self._ak == ak", True),
        ("password == b'00000000'", True),
        ("same(tag, other)", False),
        ("tag == 0xC8", False),
        ("tag == GENERAL_GLO", False),
        ("inner.tag == Tag.GET_REQUEST", False),
        ("octets[:1] == Aarq.tag", False),
        ("proof[0] != sc", False),
        ("proof[:12] != sc", True),
        ("len(ek) == 16", False),
        ("tag == plain_tag  # public: APDU tags", False),
        ("challenge is None", False),
    ],
)
def test_the_rule_of_I01_finds_what_it_should(text: str, found: bool) -> None:
    assert list(unsafe_compares(text)) == ([1] if found else [])


def test_I01_secrets_are_compared_in_constant_time() -> None:
    modules = inside("crypto", "security", "association")
    assert modules
    found = [
        f"{path.relative_to(SOURCE)}:{line}"
        for path in modules
        for line in unsafe_compares(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"compare with crypto.same, or say `{PUBLIC}: why` on the line: {found}"


# --- I05: one backend, no primitive of our own --------------------------------------------------

OTHER_BACKENDS = {
    *("Crypto", "Cryptodome", "pyaes", "aes", "nacl", "ecdsa", "fastecdsa", "coincurve", "tinyec", "OpenSSL"),
    *("M2Crypto", "rsa", "jose", "jwcrypto", "Crypt", "pycryptodome", "gurux_dlms", "dlms_cosem", "mbedtls"),
}
PRIMITIVE_MARKS = {
    # Numbers that a home-made cipher, curve or hash cannot do without, by what they start.
    "the AES S-box": (0x63, 0x7C, 0x77, 0x7B),
    "the AES inverse S-box": (0x52, 0x09, 0x6A, 0xD5),
    "the SHA-256 constants": (0x428A2F98, 0x71374491),
    "the SHA-512 constants": (0x428A2F98D728AE22, 0x7137449123EF65CD),
    "the MD5 constants": (0xD76AA478, 0xE8C7B756),
}
CURVE_PRIMES = {2**256 - 2**224 + 2**192 + 2**96 - 1, 2**384 - 2**128 - 2**96 + 2**32 - 1}


def imports(path: Path) -> Iterator[tuple[ast.AST, str]]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def numbers(node: ast.AST) -> tuple[object, ...]:
    """The first octets or numbers of a literal that holds many."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
        return tuple(node.value[:4])
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(part.value for part in node.elts[:4] if isinstance(part, ast.Constant))
    return ()


def primitives(module: Iterable[ast.AST]) -> Iterator[str]:
    for node in module:
        start = numbers(node)
        yield from (what for what, marks in PRIMITIVE_MARKS.items() if start and start[: len(marks)] == marks)
        if isinstance(node, ast.Constant) and node.value in CURVE_PRIMES:
            yield "the prime of a curve"


def parsed(text: str) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(text))


def test_the_rule_of_I05_finds_what_it_should() -> None:
    assert list(primitives(parsed("SBOX = (0x63, 0x7C, 0x77, 0x7B, 0xF2)"))) == ["the AES S-box"]
    assert list(primitives(parsed("SBOX = b'\\x63\\x7c\\x77\\x7b'"))) == ["the AES S-box"]
    assert list(primitives(parsed(f"P = {2**256 - 2**224 + 2**192 + 2**96 - 1}"))) == ["the prime of a curve"]
    assert not list(primitives(parsed("TABLE = (1, 2, 3, 4)")))


def test_I05_no_other_backend_and_no_primitive_of_our_own() -> None:
    found = [
        f"{where(path, node)} {name}"
        for path in MODULES
        for node, name in imports(path)
        if name.split(".")[0] in OTHER_BACKENDS
        or (name.split(".")[0] == "cryptography" and path not in inside("crypto"))
    ]
    found += [f"{path.relative_to(SOURCE)} {what}" for path in MODULES for what in primitives(nodes(path))]
    assert not found


# --- A13: one random source ---------------------------------------------------------------------


def test_A13_no_predictable_randomness() -> None:
    found = [
        f"{where(path, node)} {name}"
        for path in MODULES
        for node, name in imports(path)
        if name.split(".")[0] in {"random", "numpy"} or name.startswith(("os.urandom", "uuid.uuid1"))
    ]
    found += [
        f"{where(path, node)} os.urandom"
        for path in MODULES
        if path not in inside("crypto")
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and node.attr in {"urandom", "getrandom", "getrandbits"}
    ]
    assert not found, f"random octets come from meterseal.crypto.random_octets: {found}"


# --- I07: opening is one-shot -------------------------------------------------------------------


def test_I07_the_public_api_has_no_streaming_and_no_unverified_opening() -> None:
    verbs = {name for name, _ in inspect.getmembers(crypto.GcmKey) if not name.startswith("_")}
    opening = {"open": ["body", "header"], "open_usual": ["body", "likely"]}
    sealing = {"seal", "seal_usual", "tag"}
    assert verbs <= {"beside", "destroy", "holds", "kcv", "with_key", *sealing, *opening}
    for name, octets in opening.items():  # all of a message goes in at once, its tag with it
        assert list(inspect.signature(getattr(crypto.GcmKey, name)).parameters) == [
            "self",
            "sc",
            "iv",
            *octets,
        ]
    wrapping = {name for name, _ in inspect.getmembers(crypto.WrappingKey) if not name.startswith("_")}
    assert wrapping <= {"destroy", "fresh", "holds", "kcv", "unwrap", "wrap"}
    for name in crypto.__all__:
        assert not any(word in name.lower() for word in ("stream", "decrypt", "update", "unverified"))


def test_I07_decryptors_stay_where_they_are_finished() -> None:
    """A streaming decryptor of messages exists in one function, which verifies before it returns.

    The other is for makers' files, which have nothing to verify: it takes and gives them whole.
    """
    found = [
        (path.name, function.name)
        for path in MODULES
        for function in nodes(path)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr in {"decryptor", "finalize_with_tag"}
    ]
    assert found == [("gcm.py", "_open_stream"), ("transport.py", "open_with_password")]
