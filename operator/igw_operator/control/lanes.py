"""Ordinary places for passes, and a lane for those that turn out to take long.

Used by ``workers``. Like a road with a crawler lane: whoever is slow moves over, as long as
there is room, and does not hold up the others.
"""

from __future__ import annotations

import asyncio


class Lanes:
    """So many ordinary places, and so much room for the slow."""

    def __init__(self, *, ordinary: int, slow: int) -> None:
        self._places = asyncio.Semaphore(ordinary)
        self._room = slow

    async def enter(self) -> Turn:
        """Wait for an ordinary place."""
        await self._places.acquire()
        return Turn(self)

    def move_over(self) -> bool:
        """Exchange an ordinary place for one in the slow lane, if there is room."""
        if self._room == 0:
            return False
        self._room -= 1
        self._places.release()
        return True

    def leave(self, *, slow: bool) -> None:
        """Give the place back."""
        if slow:
            self._room += 1
        else:
            self._places.release()


class Turn:
    """One place, held until `end`."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.is_slow = False

    def slow_down(self) -> bool:
        """Go on in the slow lane; False: there is no room."""
        self.is_slow = self.is_slow or self._lanes.move_over()
        return self.is_slow

    def end(self) -> None:
        """Give the place back."""
        self._lanes.leave(slow=self.is_slow)
