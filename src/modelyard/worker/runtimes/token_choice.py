"""Which token comes next in each row: the library's own processors on the row's scores, and draws that each request
makes for itself, so that every row gets what it would get alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol, runtime_checkable

import torch
from transformers import LogitsProcessorList
from transformers.generation import logits_process as library
from transformers.generation.configuration_utils import GenerationMode

from modelyard.tasks.token_model import TokenScore
from modelyard.worker.runtimes.draws import draw_tokens, without_sorting
from modelyard.worker.runtimes.generation_settings import UNSET_LENGTHS, new_token_limit, new_token_minimum
from modelyard.worker.runtimes.grammars import GrammarProcessor
from modelyard.worker.runtimes.stepping import MinimumLengths, occurrence_penalties

BLIND = (
    library.TemperatureLogitsWarper, library.TopHLogitsWarper, library.TopKLogitsWarper, library.TopPLogitsWarper,
    library.MinPLogitsWarper, library.TypicalLogitsWarper, library.EpsilonLogitsWarper, library.EtaLogitsWarper,
    library.SuppressTokensLogitsProcessor, library.InfNanRemoveLogitsProcessor, library.LogitNormalization,
)  # fmt: skip
"""Processors that look at one step's scores and nothing else: rows with the same settings share them."""

_WHOLE_BATCH = ("guidance_scale", "stop_strings", "token_healing", "dola_layers", "prompt_lookup_num_tokens", "use_mtp")
"""Settings of which the library's own loop makes more than a choice of tokens; neutral when unset."""


@dataclass(frozen=True, eq=False)
class ChoicePlan:
    """See `tasks.token_model.TokenPlan`. `config`: a request's settings, filled in as the library does. `window`: most
    tokens of prompt and answer together, when limited. `seed`: None: every call differs. `grammar`: opens what holds
    the texts to one prompt to a form, given its ids; None: they are free. `logprobs`: how many of the likeliest tokens
    are told beside each; None: nothing is."""

    model: Any
    config: Any
    seed: int | None
    window: int | None
    grammar: Callable[[Sequence[int]], GrammarProcessor] | None = None
    logprobs: int | None = None

    @cached_property
    def sequences(self) -> int:
        """Rows to each prompt."""
        return int(self.config.num_return_sequences or 1)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Ids that end a row."""
        return frozenset(self.config.eos_token_id or ())

    @property
    def forces_end(self) -> bool:
        """Whether the last token at the most length is an end token."""
        return self.config.forced_eos_token_id is not None

    @property
    def max_time_s(self) -> float | None:
        """After which a row ends."""
        return None if self.config.max_time is None else float(self.config.max_time)

    def limit_tokens(self, prompt_tokens: int) -> int:
        """Most tokens to write after a prompt."""
        return new_token_limit(self.config, prompt_tokens, self.window)

    @cached_property
    def shared(self) -> LogitsProcessorList | None:
        """The processors of all rows by this plan; None where each prompt needs its own."""
        if self.grammar is not None or any((self.config.min_length, self.config.min_new_tokens)):
            return None
        processors = self.processors((0,))
        return processors if all(isinstance(each, BLIND) for each in processors) else None

    @cached_property
    def is_plain(self) -> bool:
        """Whether the likeliest token is taken as the model gives it."""
        return not self.config.do_sample and self.shared is not None and not self.shared

    def processors(self, ids: Sequence[int]) -> LogitsProcessorList:
        """What the library does to the scores of a row that continues the prompt `ids`."""
        config = copy.deepcopy(self.config)
        prompt = torch.tensor([list(ids)], device=self.model.device)
        longest = new_token_limit(config, len(ids), self.window)
        least = new_token_minimum(config, len(ids), self.window)
        vars(config).update(UNSET_LENGTHS, max_length=len(ids) + longest)
        self.model._prepare_special_tokens(config, device=prompt.device)
        own: list[Any] = [MinimumLengths([least], sorted(self.ends))] if self.ends and least else []
        own += occurrence_penalties(config)
        if self.grammar is not None:
            own.append(self.grammar(ids))
        processors: LogitsProcessorList = self.model._get_logits_processor(
            generation_config=config,
            input_ids_seq_length=len(ids),
            encoder_input_ids=prompt,
            logits_processor=LogitsProcessorList(own),
            device=prompt.device,
        )
        return without_sorting(processors)


def plan_choice(
    model: Any,
    config: Any,
    seed: int | None,
    window: int | None,
    open_grammar: Callable[[frozenset[int], Sequence[int]], GrammarProcessor] | None = None,
    logprobs: int | None = None,
) -> ChoicePlan | None:
    """How tokens are chosen by a request's settings; None where the library's own loop has to run them.

    `open_grammar`: what holds texts to a form, given the ids that end them and those of their prompt. `logprobs`: see
    ChoicePlan.
    """
    filled = model._prepare_generation_config(config)[0]
    # The library's own defaults for lengths are not ours.
    vars(filled).update({name: getattr(config, name) for name in UNSET_LENGTHS})
    own_loop = filled.use_cache is False or any(
        getattr(filled, name, None) not in (None, False, neutral)
        for name, neutral in ((name, 1 if name == "guidance_scale" else None) for name in _WHOLE_BATCH)
    )
    if own_loop or filled.get_generation_mode() not in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE):
        return None
    ends = frozenset(filled.eos_token_id or ())
    grammar = None if open_grammar is None else partial(open_grammar, ends)
    return ChoicePlan(model, filled, seed, window, grammar, logprobs)


@runtime_checkable
class Rule(Protocol):
    """A processor that forbids tokens and changes no other score."""

    def allows(self, input_ids: torch.Tensor, token: int) -> bool:
        """Whether `token` may come after `input_ids`, (1, prompt and text). Called once for each of a text,
        as the processor itself is."""


class PromptChoice:
    """The choices for the rows of one prompt, which are drawn together, as the library draws them.

    The library goes on drawing for rows that have ended while others have not, and so does this: the numbers that a row
    gets must not depend on when its sisters end.
    """

    def __init__(self, plan: ChoicePlan, ids: Sequence[int]) -> None:
        self.plan = plan
        self.processors = plan.processors(ids) if plan.shared is None else plan.shared
        self._ids = torch.tensor([list(ids)] * plan.sequences, device=plan.model.device)
        self._generator: torch.Generator | None = None
        if plan.config.do_sample and plan.seed is not None:
            self._generator = torch.Generator(plan.model.device)
            self._generator.manual_seed(plan.seed)
        self._rules: list[Rule] | None = None
        """What the only row is held to, where nothing else changes which token is the likeliest."""
        rules = [each for each in self.processors if isinstance(each, Rule)]
        if plan.sequences == 1 and not plan.config.do_sample and len(rules) == len(self.processors):
            self._rules = rules

    def takes(self, token: int) -> bool:
        """Whether the only row's likeliest token by the model comes next, as all that it is held to allows it; notes it
        then.

        Else the scores have to be processed.
        """
        if self._rules is None or not all(rule.allows(self._ids, token) for rule in self._rules):
            return False
        self._ids = torch.cat([self._ids, self._ids.new_full((1, 1), token)], dim=1)
        return True

    def process(self, places: Sequence[int], scores: torch.Tensor) -> torch.Tensor:
        """The scores of the rows `places` of this prompt, as its own processors change them."""
        changed: torch.Tensor = self.processors(self._ids[list(places)], scores)
        return changed

    def take(self, places: Sequence[int], scores: torch.Tensor) -> list[int]:
        """One token for each of the rows `places`, by their processed scores."""
        if not self.plan.config.do_sample:
            tokens = scores.argmax(dim=-1)
        elif self._generator is None:
            tokens = draw_tokens(scores)
        else:
            shares = scores.new_ones(self.plan.sequences, scores.shape[1])
            shares[list(places)] = torch.nn.functional.softmax(scores, dim=-1)
            drawn = torch.multinomial(shares, num_samples=1, generator=self._generator).squeeze(1)
            tokens = drawn[list(places)]
        if self.plan.shared is None:
            self._note(places, tokens)
        chosen: list[int] = tokens.tolist()
        return chosen

    def _note(self, places: Sequence[int], tokens: torch.Tensor) -> None:
        """Keeps the tokens for processors that read what was written; of a row that has ended, anything."""
        newest = self._ids.new_zeros(len(self._ids), 1)
        newest[list(places), 0] = tokens
        self._ids = torch.cat([self._ids, newest], dim=1)


@dataclass(frozen=True, slots=True)
class Choosing:
    """A row that a token is chosen for: number `place` of its prompt's."""

    choice: PromptChoice
    place: int


def choose_tokens(rows: Sequence[Choosing], logits: torch.Tensor) -> list[int | Exception]:
    """The next token of each row, or the error that it meets alone. `logits`: (rows, vocabulary)."""
    likeliest: list[int] = logits.argmax(dim=-1).tolist()
    chosen: list[int | Exception] = list(likeliest)
    together: dict[ChoicePlan, list[int]] = {}
    alone: dict[PromptChoice, list[int]] = {}
    for index, row in enumerate(rows):
        if not row.choice.plan.is_plain:
            alone.setdefault(row.choice, []).append(index)
            if row.choice.plan.shared is not None:
                together.setdefault(row.choice.plan, []).append(index)
    processed = {
        index: scores
        for plan, indices in together.items()
        for index, scores in zip(indices, process_together(plan, logits[indices]), strict=True)
    }
    for choice, indices in alone.items():
        tokens = choose_alone(choice, rows, indices, logits, likeliest, processed)
        for index, token in zip(indices, tokens, strict=True):
            chosen[index] = token
    return chosen


def score_tokens(
    rows: Sequence[Choosing], tokens: Sequence[int | Exception], logits: torch.Tensor
) -> dict[int, TokenScore]:
    """How likely the chosen tokens were, of the rows that ask for it, by the place of the row."""
    places = [place for place, row in enumerate(rows) if row.choice.plan.logprobs is not None]
    if not places:
        return {}
    scores: dict[int, TokenScore] = {}
    for place, logprobs in zip(places, torch.log_softmax(logits[places].float(), dim=-1), strict=True):
        token, count = tokens[place], rows[place].choice.plan.logprobs or 0
        if isinstance(token, int):
            best = logprobs.topk(min(count, len(logprobs)))
            top = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
            scores[place] = TokenScore(float(logprobs[token]), top)
    return scores


def process_together(plan: ChoicePlan, logits: torch.Tensor) -> Sequence[torch.Tensor | None]:
    """Each row's scores by the plan's processors; None for all where that fails, so that each meets its own error."""
    try:
        scores: torch.Tensor = (plan.shared or LogitsProcessorList())(None, logits.float())
    except Exception:  # noqa: BLE001 - what a processor raises about one row is none of the others'
        return [None] * len(logits)
    return list(scores)


def choose_alone(
    choice: PromptChoice,
    rows: Sequence[Choosing],
    indices: Sequence[int],
    logits: torch.Tensor,
    likeliest: Sequence[int],
    processed: dict[int, torch.Tensor | None],
) -> Sequence[int | Exception]:
    """The next tokens of one prompt's rows. `likeliest`: of every row, by `logits` as they are."""
    places = [rows[index].place for index in indices]
    known = [processed.get(index) for index in indices]
    try:
        if choice.takes(likeliest[indices[0]]):
            return [likeliest[indices[0]]]
        ready = [scores for scores in known if scores is not None]
        whole = len(ready) == len(known)
        scores = torch.stack(ready) if whole else choice.process(places, logits[list(indices)].float())
        return choice.take(places, scores)
    except Exception as error:  # noqa: BLE001 - as above
        return [error] * len(indices)
