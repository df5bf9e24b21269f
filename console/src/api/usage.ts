import { get } from "./http";

/** What was used, by one group or in all. Money is in US dollars and, exactly, in billionths of one. */
export interface UsageRow {
  day?: string;
  modelId?: string;
  instances: number;
  seconds: number;
  billedSeconds: number;
  gbSeconds: number;
  requests: number;
  inferenceSeconds: number;
  cost: number;
  costNano: number;
}

/** One instance on the bill. */
export interface UsageLine {
  instanceId: string;
  modelId: string;
  from: string;
  to: string;
  open: boolean;
  ramRequired: number;
  seconds: number;
  billedSeconds: number;
  gbSeconds: number;
  cost: number;
  costNano: number;
}

export interface Funds {
  credit: number | null;
  spent: number;
  monthlyLimit: number | null;
  spentThisMonth: number;
  left: number;
}

export interface Usage {
  since: string;
  until: string;
  rows: UsageRow[];
  total: UsageRow;
  funds: Funds | null;
  lines: UsageLine[];
}

export interface KeyUsage {
  keyId: string | null;
  keyName: string | null;
  revoked: boolean;
  requests: number;
  inferenceSeconds: number;
  cost: number;
  costNano: number;
  charged: number;
}

/** Dates are UTC; an empty one stands for this month's first, or now. */
export interface Period {
  since: string;
  until: string;
}

export const readUsage = async (period: Period, groupBy: "day" | "model"): Promise<Usage> =>
  (await get<{ output: Usage }>("/models/v2/usage", { ...period, groupBy, lines: true })).output;

export const readKeyUsage = async (period: Period): Promise<KeyUsage[]> =>
  (await get<{ output: KeyUsage[] }>("/models/v2/usage/keys", { ...period })).output;
