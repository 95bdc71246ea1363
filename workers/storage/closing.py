"""Something that holds files open, and closes them when its block ends."""

from typing import Self


class Closing:
    """Gives a class with `close` its ``with``."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
