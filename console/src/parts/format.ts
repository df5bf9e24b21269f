// Numbers as people read them. In the browser's language, so that a decimal point is what its user expects.

const GIB = 2 ** 30;
const NEVER = "—";

const plain = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const rough = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });

export const number = (value: number): string => plain.format(value);
/** A measurement: as many digits as one can trust. */
export const figure = (value: number): string => rough.format(value);
export const percent = (value: number): string => share.format(value);

/** 124000000 → "124M". */
export const count = (value: number): string => compact.format(value);

export function bytes(size: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = size < 1 ? 0 : Math.min(Math.floor(Math.log(size) / Math.log(1024)), units.length - 1);
  return `${new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 }).format(size / 1024 ** power)} ${units[power]}`;
}

/** From GB as the public API has them. */
export const gigabytes = (gb: number): string => bytes(gb * GIB);

/** US dollars: as many places as a small amount needs. */
export function money(usd: number): string {
  const places = usd === 0 || Math.abs(usd) >= 1 ? 2 : Math.min(9, 1 - Math.floor(Math.log10(Math.abs(usd))) + 1);
  return new Intl.NumberFormat(undefined, { style: "currency", currency: "USD", minimumFractionDigits: 2, maximumFractionDigits: Math.max(2, places) }).format(usd);
}

export function seconds(value: number): string {
  if (value < 1) return `${rough.format(value * 1000)} ms`;
  if (value < 120) return `${plain.format(value)} s`;
  if (value < 7200) return `${plain.format(value / 60)} min`;
  return `${plain.format(value / 3600)} h`;
}

/** A moment of the API (ISO 8601) in the browser's time. */
export const time = (iso: string | null | undefined): string => (iso ? moment.format(new Date(iso)) : NEVER);

/** A UTC day, YYYY-MM-DD. */
export const date = (iso: string): string => day.format(new Date(iso));
