"""A set of ids that takes no memory for those that count up by one, as MS MARCO's and DPR's do; no equation."""


class IdSet:
    """Ids added one by one; about 100 bytes for each that is not the number after the numbers before it."""

    def __init__(self) -> None:
        self._first, self._numbers = 0, 0
        self._others: set[str] = set()

    def add(self, id: str) -> bool:
        """Whether the id is new."""
        if self._numbers and id == str(self._first + self._numbers) and id not in self._others:
            self._numbers += 1
        elif id in self:
            return False
        elif not self._numbers and _is_number(id):
            self._first, self._numbers = int(id), 1
        else:
            self._others.add(id)
        return True

    def __contains__(self, id: str) -> bool:
        if self._numbers and _is_number(id) and 0 <= int(id) - self._first < self._numbers:
            return True
        return id in self._others

    def __len__(self) -> int:
        return self._numbers + len(self._others)


def _is_number(id: str) -> bool:
    """Written as `str` writes a number of at most 18 digits."""
    return id.isascii() and id.isdigit() and len(id) <= 18 and (id[0] != "0" or id == "0")
