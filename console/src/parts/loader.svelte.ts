// Something that is fetched, and fetched again after it was changed. What was known stays until there is news.

export class Loader<T> {
  value = $state.raw<T | undefined>(undefined);
  problem = $state.raw<unknown>(null);
  private readonly fetch: () => Promise<T>;
  private turn = 0;

  /** `begins`: at once; else with the first `load`. */
  constructor(fetch: () => Promise<T>, begins = true) {
    this.fetch = fetch;
    if (begins) void this.load();
  }

  /** Fetches it; of two that are under way the later one counts. */
  async load(): Promise<void> {
    const turn = ++this.turn;
    try {
      const value = await this.fetch();
      if (turn !== this.turn) return;
      this.value = value;
      this.problem = null;
    } catch (error) {
      if (turn === this.turn) this.problem = error;
    }
  }
}
