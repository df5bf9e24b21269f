import type { Replica } from "./clusters";
import { ask } from "./http";

/** Memory of a machine or an accelerator. */
export interface Memory {
  name: string;
  memoryBytes: number;
  reservedBytes: number;
  heldBytes: number;
  accepting: boolean;
  replicas: number;
}

export interface Machine extends Memory {
  devices: Memory[];
}

export interface AccountReplica extends Replica {
  accountId: string;
  modelId: string;
}

export interface Evicted {
  at: string;
  id: string;
  accountId: string;
  modelId: string;
  node: string;
  devices: string[];
  reservedBytes: number;
  reservedDeviceBytes: number;
  reason: string;
}

export interface Occupancy {
  nodes: Machine[];
  replicas: AccountReplica[];
  evicted: Evicted[];
}

export const LIVE_MACHINES = "/admin/v1/live";

/** Whether a machine, or one accelerator of it, takes new instances. */
export const useMachine = (node: string, accepting: boolean, device: string | null): Promise<unknown> =>
  ask("PATCH", `/admin/v1/nodes/${encodeURIComponent(node)}`, { body: { accepting, device } });
