// Where the console is: `#/models/openai-community/gpt2?search=gpt`. In the hash, so that no path of the API is taken.

export class Place {
  /** The first part of the path: which page. */
  readonly page: string;
  /** What follows it, decoded, without a slash at its beginning: `openai-community/gpt2`. */
  readonly rest: string;
  readonly query: URLSearchParams;

  constructor(hash: string) {
    const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
    const parts = path.split("/").map(decoded);
    this.page = parts[0] ?? "";
    this.rest = parts.slice(1).join("/");
    this.query = new URLSearchParams(query);
  }
}

class Router {
  place = $state.raw(new Place(location.hash));

  constructor() {
    addEventListener("hashchange", () => (this.place = new Place(location.hash)));
  }
}

export const router = new Router();

/** The address of a page. `rest` may hold names with slashes; empty values of `query` are left out. */
export function linkTo(page: string, rest = "", query: Record<string, string> = {}): string {
  const path = [page, ...(rest ? rest.split("/") : [])].map(encodeURIComponent).join("/");
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ""));
  return `#/${path}${given.size ? `?${given}` : ""}`;
}

/** Goes to a page, as a link does. */
export function goTo(page: string, rest = "", query: Record<string, string> = {}): void {
  location.hash = linkTo(page, rest, query);
}

/** The same, with no step back to where it was: for what is typed into a search field. Nothing where somebody has left
 * meanwhile. */
export function replaceWith(page: string, rest = "", query: Record<string, string> = {}): void {
  if (new Place(location.hash).page !== router.place.page) return;
  history.replaceState(null, "", linkTo(page, rest, query));
  router.place = new Place(location.hash);
}

/** The code in `#/sign-in?code=...`, which is taken out of the address and the browser's history; null: there is none. */
export function takeCode(): string | null {
  if (router.place.page !== "sign-in") return null;
  const code = router.place.query.get("code");
  history.replaceState(null, "", location.pathname);
  router.place = new Place("");
  return code;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
