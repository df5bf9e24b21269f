// Tables as files that spreadsheets read. Source: RFC 4180.

/** What a spreadsheet would take for a formula: a name of somebody else's must not become one. */
const FORMULA = /^[=+\-@\t\r]/;

/** One line of names, then the rows. */
export function csvOf(names: readonly string[], rows: readonly (readonly (string | number | boolean | null)[])[]): string {
  return [names, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** Has the browser keep a text as a file. */
export function download(name: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function cell(value: string | number | boolean | null): string {
  if (value === null) return "";
  if (typeof value !== "string") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
