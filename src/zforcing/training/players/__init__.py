"""Players: what trains beside the bound, by the name that `player.name` has in recipes."""

from __future__ import annotations

from ...registry import Family
from .player import Player
from .professor import Professor

__all__ = ["PLAYERS", "Player", "Professor"]

PLAYERS: Family[Player] = Family("player", Player, classes=(Professor,))
