"""When a provider is asked again, and when not."""

from __future__ import annotations

import pytest

from modelyard.errors import DeadlineExceeded, ProviderBusy, ProviderFailed, ProviderRefused
from modelyard.protocol import Outcome
from modelyard.providers.asked import Asked
from modelyard.providers.calls import MOST_TRIES, Emit, try_again


class Provider:
    """Answers with these, one after the other; an error is raised. `pieces`: sent before each."""

    def __init__(self, *answers: Outcome | Exception, pieces: tuple[str, ...] = ()) -> None:
        self.answers = list(answers)
        self.pieces = pieces
        self.tries = 0

    async def ask(self, asked: Asked, emit: Emit | None) -> Outcome:
        self.tries += 1
        for piece in self.pieces:
            if emit is not None:
                emit(piece)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def asked(within_s: float = 60.0) -> Asked:
    return Asked(
        task="chat", provider="acme", prefix="openai", model="big", key="sk-1", fields={}, params={}, within_s=within_s
    )


def busy(wait_s: float = 0.0) -> ProviderBusy:
    return ProviderBusy(retry_after_s=wait_s, says_when=True)


DONE = Outcome("done")


async def test_it_is_asked_again_until_it_answers() -> None:
    provider = Provider(busy(), ProviderFailed(retry_after_s=0.0, says_when=True), DONE)
    assert await try_again(provider.ask, asked(), None) is DONE
    assert provider.tries == 3


async def test_it_is_asked_so_often_and_no_more() -> None:
    provider = Provider(*[busy() for _ in range(MOST_TRIES + 1)])
    with pytest.raises(ProviderBusy):
        await try_again(provider.ask, asked(), None)
    assert provider.tries == MOST_TRIES


async def test_a_refusal_is_no_reason_to_ask_again() -> None:
    provider = Provider(ProviderRefused(), DONE)
    with pytest.raises(ProviderRefused):
        await try_again(provider.ask, asked(), None)
    assert provider.tries == 1


async def test_it_is_not_waited_for_longer_than_there_is_time() -> None:
    provider = Provider(busy(5.0), DONE)
    with pytest.raises(ProviderBusy):
        await try_again(provider.ask, asked(within_s=1.0), None)
    assert provider.tries == 1


async def test_it_is_not_asked_again_once_a_piece_has_been_sent() -> None:
    provider = Provider(ProviderFailed(retry_after_s=0.0, says_when=True), DONE, pieces=("Hel",))
    sent: list[str] = []
    with pytest.raises(ProviderFailed):
        await try_again(provider.ask, asked(), sent.append)
    assert sent == ["Hel"]
    assert provider.tries == 1


async def test_an_answer_that_does_not_come_ends_with_the_deadline() -> None:
    import asyncio

    async def ask(_asked: Asked, _emit: Emit | None) -> Outcome:
        await asyncio.Event().wait()
        return DONE

    with pytest.raises(DeadlineExceeded, match="acme has not answered"):
        await try_again(ask, asked(within_s=0.05), None)
