"""Who may see which model of the hub, as the catalog asks it. Decides nothing itself."""

from __future__ import annotations

from typing import Protocol


class Access(Protocol):
    """Answers from memory. An account None is the server itself, which may see everything."""

    def may_use(self, account_id: str | None, model_id: str) -> bool:
        """Whether the account may see the model, or the variant of one."""
        ...

    def note(self, model_id: str, restricted: bool) -> None:
        """Takes what the hub says of a model; blocks."""
        ...


class OpenAccess:
    """Everybody may see everything: for commands that work without accounts."""

    def may_use(self, account_id: str | None, model_id: str) -> bool:
        """Yes."""
        return True

    def note(self, model_id: str, restricted: bool) -> None:
        """Nobody asks for it."""


OPEN = OpenAccess()
