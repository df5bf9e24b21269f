// How the states of clusters, instances and jobs are shown.

import type { ClusterStatus, Replica } from "../../api/clusters";
import type { JobState } from "../../api/jobs";

export type Kind = "good" | "warn" | "bad" | "idle" | "busy";

export function kindOfCluster(status: ClusterStatus): Kind {
  if (status === "running") return "good";
  if (status === "failed") return "bad";
  return status === "stopped" ? "idle" : "busy";
}

export function kindOfReplica(state: Replica["state"]): Kind {
  if (state === "ready") return "good";
  if (state === "failed") return "bad";
  return state === "stopped" || state === "queued" ? "idle" : "busy";
}

export function kindOfJob(status: JobState): Kind {
  if (status === "done") return "good";
  if (status === "failed") return "bad";
  return status === "queued" ? "idle" : "busy";
}

/** Kinds of lines of a log that one looks for. */
export function kindOfLine(kind: string): Kind {
  if (kind === "ready") return "good";
  if (["failed", "gave up", "stuck", "unpaid"].includes(kind)) return "bad";
  return ["queued", "draining", "cannot scale"].includes(kind) ? "warn" : "idle";
}
