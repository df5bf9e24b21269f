// The models that a filter leaves, fetched page by page as somebody scrolls towards their end.

import { isAborted } from "../../api/http";
import { listModels, type Model, type ModelFilter } from "../../api/models";

/** The first page is quick; those that follow are fewer. */
const FIRST_PAGE = 250;
const NEXT_PAGES = 1000;

export class Catalogue {
  models = $state.raw<readonly Model[]>([]);
  problem = $state.raw<unknown>(null);
  isLoading = $state(false);
  private after = $state.raw<string | undefined>(undefined);
  private filter: ModelFilter | null = null;
  private asking = new AbortController();

  /** Whether there are more than `models`. */
  get hasMore(): boolean {
    return this.after !== undefined;
  }

  /** Begins anew with another filter. */
  show(filter: ModelFilter): void {
    this.filter = filter;
    this.after = undefined;
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
    this.asking.abort();
  }

  private async fetchPage(): Promise<void> {
    if (!this.filter) return;
    this.asking.abort();
    const asking = (this.asking = new AbortController());
    const after = this.after;
    this.isLoading = true;
    try {
      const page = await listModels(this.filter, after, after ? NEXT_PAGES : FIRST_PAGE, asking.signal);
      this.models = after ? [...this.models, ...page.output] : page.output;
      this.after = page.next;
      this.problem = null;
    } catch (error) {
      if (!isAborted(error)) this.problem = error;
    } finally {
      if (asking === this.asking) this.isLoading = false;
    }
  }
}
