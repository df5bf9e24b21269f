// Clusters as they stand, and what happens to one of them, for as long as somebody listens.

import type { Cluster, Line } from "../../api/clusters";
import type { Query } from "../../api/http";
import { listen } from "../../api/live";

const LINES_FIRST = 100;
const LINES_KEPT = 500;
const SHOWN_EVERY_MS = 100;

export class WatchedCluster {
  cluster = $state.raw<Cluster | null>(null);
  lines = $state.raw<Line[]>([]);
  /** Whether all that there is was told: without a cluster, there is none. */
  isKnown = $state(false);
  problem = $state.raw<unknown>(null);
  /** Since the stream was opened last. */
  #wasTold = false;

  /** Listens until what it returns is called. `of`: to which cluster; `instead`: reads it while no stream is opened. */
  listen(path: string, of: Query, instead?: () => Promise<Cluster | null>): () => void {
    return listen(
      path,
      { ...of, events: LINES_FIRST },
      {
        known: () => this.#know(this.#wasTold ? this.cluster : null),
        cluster: (told: Cluster) => {
          this.#wasTold = true;
          this.cluster = told;
        },
        gone: () => (this.cluster = null),
        log: (line: Line) => {
          if (line.id > (this.lines.at(-1)?.id ?? 0)) this.lines = [...this.lines.slice(1 - LINES_KEPT), line];
        },
      },
      (found) => {
        this.problem = found;
        if (found === null) this.#wasTold = false;
      },
      instead && (async () => this.#know(await instead())),
    );
  }

  #know(cluster: Cluster | null): void {
    this.cluster = cluster;
    this.isKnown = true;
  }
}

/** What is told of a cluster that was deleted, and of each that there is; `account`: where they are of several. */
interface Told {
  modelId: string;
  account?: string;
}

export class WatchedClusters<T extends Cluster & Told> {
  clusters = $state.raw<readonly T[]>([]);
  /** Whether all that there are were told. */
  isKnown = $state(false);
  problem = $state.raw<unknown>(null);
  readonly #all = new Map<string, T>();
  /** Those told since the stream was opened last: the others were deleted meanwhile. */
  readonly #told = new Set<string>();
  #isShown: ReturnType<typeof setTimeout> | undefined;

  /** Begins anew, and listens until what it returns is called. `instead`: reads them while no stream is opened. */
  listen(path: string, of: Query, instead?: () => Promise<T[]>): () => void {
    this.#all.clear();
    this.#show();
    this.isKnown = false;
    const close = listen(
      path,
      of,
      {
        known: () => this.#know(this.#told),
        cluster: (cluster: T) => {
          this.#told.add(nameOf(cluster));
          this.#all.set(nameOf(cluster), cluster);
          this.#showSoon();
        },
        gone: (cluster: Told) => {
          this.#all.delete(nameOf(cluster));
          this.#showSoon();
        },
      },
      (found) => {
        this.problem = found;
        if (found === null) this.#told.clear();
      },
      instead &&
        (async () => {
          const found = await instead();
          for (const each of found) this.#all.set(nameOf(each), each);
          this.#know(new Set(found.map(nameOf)));
        }),
    );
    return () => {
      clearTimeout(this.#isShown);
      close();
    };
  }

  /** There are these, and no others. */
  #know(names: ReadonlySet<string>): void {
    for (const name of [...this.#all.keys()]) if (!names.has(name)) this.#all.delete(name);
    this.#show();
    this.isKnown = true;
  }

  /** Thousands may be told at once: they are shown together. */
  #showSoon(): void {
    if (this.isKnown) this.#isShown ??= setTimeout(() => this.#show(), SHOWN_EVERY_MS);
  }

  #show(): void {
    clearTimeout(this.#isShown);
    this.#isShown = undefined;
    this.clusters = [...this.#all.values()];
  }
}

const nameOf = ({ account, modelId }: Told): string => `${account ?? ""} ${modelId}`;
