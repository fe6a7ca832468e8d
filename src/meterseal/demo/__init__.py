"""The demonstration: scenes played with a real meter process and a real line, each with claim and evidence.

`play` is the door. A scene is a row of `scenes.SCENES`: name, claim, and the function that plays it on the
stage; whether its claim held is computed from what happened.
"""

from __future__ import annotations

from meterseal.demo.play import play
from meterseal.demo.scene import Fact, Played

__all__ = ["Fact", "Played", "play"]
