"""What the guard raises where it refuses, before the bundle's name is known to it."""


class Unsafe(Exception):
    """An operation, or another part of a SavedModel, that is refused.

    Attributes:
        what: the operation, or the part.
        where: the function that it is in; empty outside of functions.
    """

    def __init__(self, what: str, where: str = ""):
        self.what, self.where = shown(what), shown(where)
        super().__init__(f"{self.what} in {self.where}" if where else self.what)


def shown(name: str) -> str:
    """Return a name of a foreign file in one short printable line."""
    plain = name if name.isprintable() else repr(name)[1:-1]
    return plain if len(plain) <= 120 else f"{plain[:117]}..."
