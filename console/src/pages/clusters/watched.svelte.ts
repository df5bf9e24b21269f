// One cluster as it stands and what happens to it, for as long as somebody listens.

import type { Cluster, Line } from "../../api/clusters";
import type { Query } from "../../api/http";
import { listen } from "../../api/live";

const LINES_FIRST = 100;
const LINES_KEPT = 500;

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
