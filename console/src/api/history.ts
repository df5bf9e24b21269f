import { get } from "./http";

export type Period = "hour" | "day" | "month";

/** What is drawn: `stepSeconds` from one point to the next; a step without a point had nothing. */
export interface Steps {
  begin: string;
  end: string;
  stepSeconds: number;
}

export interface ClusterPoint {
  at: string;
  requests: number;
  failed: number;
  latency: { p50: number; p90: number; p99: number } | null;
  waitSeconds: number | null;
  inFlight: number;
  queued: number;
  instances: number;
  memoryBytes: number;
}

export interface ClusterHistory extends Steps {
  modelId: string;
  points: ClusterPoint[];
}

export interface NodePoint {
  at: string;
  memoryBytes: number;
  reservedBytes: number;
  heldBytes: number;
  evictions: number;
}

export interface NodeHistories extends Steps {
  nodes: { node: string; device: string | null; points: NodePoint[] }[];
}

/** `account`: whose, where the operator asks; null: one's own. */
export const readClusterHistory = async (model: string, period: Period, account: string | null): Promise<ClusterHistory> => {
  const path = account === null ? "/models/v2/history" : "/admin/v1/history/clusters";
  return (await get<{ output: ClusterHistory }>(path, { account, model, period })).output;
};

export const readNodeHistories = async (period: Period): Promise<NodeHistories> =>
  (await get<{ output: NodeHistories }>("/admin/v1/history/nodes", { period })).output;

/** By then what a step had is written down. */
const LATE_S = 15;

/** In how many milliseconds there is more: the next step is over and written down. */
export function untilNextMs({ end, stepSeconds }: Steps): number {
  const known = Date.parse(end) / 1000 - LATE_S;
  return (stepSeconds - (known % stepSeconds)) * 1000;
}

/** The moments of all steps that are over, in seconds, and a function that finds what a step had. */
export function stepsOf<P extends { at: string }>(history: Steps, points: readonly P[]): { times: number[]; at: (P | undefined)[] } {
  const step = history.stepSeconds;
  const first = Math.ceil(Date.parse(history.begin) / 1000 / step) * step;
  const end = Date.parse(history.end) / 1000;
  const found = new Map(points.map((point) => [Date.parse(point.at) / 1000, point]));
  const times: number[] = [];
  for (let time = first; time + step + (found.has(time) ? 0 : LATE_S) <= end; time += step) times.push(time);
  return { times, at: times.map((time) => found.get(time)) };
}
