"""A promise that was broken."""


class Violation(AssertionError):
    """The message names the promise, who broke it, and where."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise
