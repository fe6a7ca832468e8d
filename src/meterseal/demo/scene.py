"""What a scene is, and the account it gives: facts for a reader, evidence for whoever recomputes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from meterseal.errors import MetersealError

if TYPE_CHECKING:
    from meterseal.demo.stage import Stage


class Fact(NamedTuple):
    """What was looked at, what was seen, and whether that is what the claim says."""

    what: str
    seen: str
    as_claimed: bool


@dataclass(slots=True)
class Account:
    """What a scene has to say, filled while it plays; `evidence` is made of JSON values only."""

    facts: list[Fact] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)

    def fact(self, what: str, seen: object, as_claimed: bool) -> None:
        """One thing that the claim stands or falls with."""
        self.facts.append(Fact(what, str(seen), bool(as_claimed)))

    def done(self, what: str, seen: object) -> None:
        """Something that went through: had it not, the scene would have ended there."""
        self.fact(what, seen, True)

    def refusal(self, what: str, error: MetersealError | None, *kinds: type[MetersealError]) -> None:
        """Something that must have ended with an error of one of these kinds."""
        seen = "went through" if error is None else f"{error.kind}: {error}"
        self.fact(what, seen, isinstance(error, kinds))


@dataclass(frozen=True, slots=True)
class Scene:
    """A row of the table of scenes."""

    name: str
    claim: str
    act: Callable[[Stage, Account], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Played:
    """A scene that has been played. `error` says what ended it before its time."""

    name: str
    claim: str
    facts: tuple[Fact, ...]
    evidence: dict[str, Any]
    error: str | None = None

    @property
    def held(self) -> bool:
        """True when the scene came to its end, and all that it looked at was as claimed."""
        return self.error is None and bool(self.facts) and all(fact.as_claimed for fact in self.facts)

    def to_json(self) -> dict[str, Any]:
        """`{"name", "claim", "held", "evidence"}`; the facts are part of the evidence."""
        facts = [fact._asdict() for fact in self.facts]
        evidence: dict[str, Any] = {"facts": facts, **self.evidence}
        if self.error is not None:
            evidence["error"] = self.error
        return {"name": self.name, "claim": self.claim, "held": self.held, "evidence": evidence}


async def raised(work: Awaitable[object]) -> MetersealError | None:
    """The error that some work ends with; None when it goes through."""
    try:
        await work
    except MetersealError as error:
        return error
    return None
