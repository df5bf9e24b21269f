import { ask, get, getAll, modelPath } from "./http";

export type ClusterStatus =
  | "queued" | "downloading" | "booting instance" | "loading" | "running" | "scaling" | "stopping" | "stopped" | "failed";

export interface Capacity {
  min: number;
  desired: number;
  max: number;
}

/** One instance, where it is and what it holds. */
export interface Replica {
  id: string;
  state: "queued" | "starting" | "loading" | "ready" | "draining" | "stopped" | "failed";
  node: string | null;
  devices: string[];
  reservedBytes: number;
  heldBytes: number;
  reservedDeviceBytes: number;
  heldDeviceBytes: number;
  inFlight: number;
}

export interface Cluster {
  modelId: string;
  status: ClusterStatus;
  created: string;
  modified: string;
  timeout: number;
  capacity: Capacity;
  instances: number;
  inferences: number;
  lastInference: string | null;
  expiresAt: string | null;
  /** GB. */
  ramRequired: number | null;
  ready: number;
  inFlight: number;
  queued: number;
  error: string | null;
  /** Where one cluster alone is listened to. */
  replicas?: Replica[];
}

/** As the operator sees it. */
export interface AccountCluster extends Cluster {
  account: string;
  accountId: string;
}

/** A line of a cluster's log. */
export interface Line {
  id: number;
  at: string;
  modelId: string;
  kind: string;
  message: string;
}

export interface ReplicaOutput {
  replica: string;
  text: string;
}

export interface Changes {
  capacity?: Partial<Capacity>;
  timeout?: number;
  status?: "on" | "off";
}

interface Answer<T> {
  output: T;
}

const PATH = "/models/v2";

export const LIVE = `${PATH}/live`;
export const LIVE_OF_ACCOUNTS = "/admin/v1/clusters/live";

/** One's own. */
export const listClusters = (): Promise<Cluster[]> => get<Answer<Cluster[]>>(`${PATH}/list/clusters`).then(({ output }) => output);

/** Those of one account, by its name or id, or of one model; where neither is named, all. */
export const listAccountClusters = (of: { account?: string; model?: string }): Promise<AccountCluster[]> => getAll("/admin/v1/clusters", of);

export const changeCluster = async (modelId: string, changes: Changes): Promise<Cluster> =>
  (await ask<Answer<Cluster>>("PATCH", modelPath(PATH, modelId), { body: changes })).output;

export const startCluster = (modelId: string, changes: Changes): Promise<unknown> =>
  ask("PUT", modelPath(PATH, modelId), { body: changes });

export const deleteCluster = (modelId: string): Promise<unknown> => ask("DELETE", modelPath(PATH, modelId));

export const readLogs = async (modelId: string, replicas: number): Promise<ReplicaOutput[]> =>
  (await get<Answer<ReplicaOutput[]>>(modelPath(`${PATH}/logs`, modelId), { replicas })).output;
