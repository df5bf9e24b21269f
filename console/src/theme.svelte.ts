// Light, dark, or as the system says. Kept in the browser: it is nothing that anybody could misuse.

export type Theme = "system" | "light" | "dark";

const THEMES: readonly Theme[] = ["system", "light", "dark"];
const KEPT_AS = "modelyard-theme";

class Chosen {
  theme = $state<Theme>(THEMES.find((each) => each === localStorage.getItem(KEPT_AS)) ?? "system");
}

export const chosen = new Chosen();

export function applyTheme(): void {
  document.documentElement.dataset.theme = chosen.theme;
}

/** Goes from one theme to the next. */
export function nextTheme(): void {
  chosen.theme = THEMES[(THEMES.indexOf(chosen.theme) + 1) % THEMES.length]!;
  localStorage.setItem(KEPT_AS, chosen.theme);
  applyTheme();
}
