// The models that a filter leaves, fetched page by page as somebody scrolls towards their end.

import { ApiProblem, isAborted } from "../../api/http";
import { LIST_BEGIN, listModels, type ListPlace, type Model, type ModelFilter } from "../../api/models";

/** The first page is quick; those that follow are fewer. */
const FIRST_PAGE = 250;
const NEXT_PAGES = 1000;
const AGAIN_MS = 500;
const MOST_AGAIN_MS = 30_000;

export class Catalogue {
  models = $state.raw<readonly Model[]>([]);
  problem = $state.raw<unknown>(null);
  isLoading = $state(false);
  private next = $state.raw<ListPlace | null>(null);
  private filter: ModelFilter | null = null;
  private asking = new AbortController();
  private again: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;

  /** Whether there are more than `models`. */
  get hasMore(): boolean {
    return this.next !== null;
  }

  /** Begins anew with another filter. */
  show(filter: ModelFilter): void {
    this.filter = filter;
    this.next = LIST_BEGIN;
    this.failures = 0;
    void this.fetchPage();
  }

  /** Fetches the next page, unless one is on its way. */
  fetchMore(): void {
    if (this.hasMore && !this.isLoading && !this.problem) void this.fetchPage();
  }

  /** Tries again what went wrong. */
  retry(): void {
    void this.fetchPage();
  }

  close(): void {
    clearTimeout(this.again);
    this.asking.abort();
  }

  private async fetchPage(): Promise<void> {
    const { filter, next: from } = this;
    if (!filter || !from) return;
    this.close();
    const asking = (this.asking = new AbortController());
    this.isLoading = true;
    try {
      const isFirst = from === LIST_BEGIN;
      const page = await listModels(filter, from, from.after ? NEXT_PAGES : FIRST_PAGE, asking.signal);
      this.models = isFirst ? page.models : [...this.models, ...page.models];
      this.next = page.next;
      this.problem = null;
      this.failures = 0;
    } catch (error) {
      if (isAborted(error)) return;
      this.fail(error);
    } finally {
      if (asking === this.asking) this.isLoading = false;
    }
    if (this.models.length === 0) this.fetchMore(); // nothing to scroll, which would ask for them
  }

  /** What passes is tried again, later and later. */
  private fail(problem: unknown): void {
    this.problem = problem;
    if (!(problem instanceof ApiProblem && problem.isPassing)) return;
    this.again = setTimeout(() => this.retry(), Math.min(MOST_AGAIN_MS, AGAIN_MS * 2 ** this.failures));
    this.failures += 1;
  }
}
