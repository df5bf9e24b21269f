"""What a scheduler tells of its batches, as it is told."""

from __future__ import annotations

from modelyard.worker.threads_by_work import ThreadsByWork


class NotedThreads(ThreadsByWork):
    """Of a model that may have one. `sizes`: what was prepared for; `took_s`: what it took."""

    def __init__(self) -> None:
        super().__init__(1, lambda _count: None)
        self.sizes: list[int | None] = []
        self.took_s: list[float] = []

    def prepare(self, size: int | None = None) -> None:
        self.sizes.append(size)
        super().prepare(size)

    def note(self, took_s: float) -> None:
        self.took_s.append(took_s)
        super().note(took_s)
