// Colours that tell things apart, each with its label beside it: a colour alone says nothing.

/** The hues of a colour wheel, so that neighbours differ. */
const hueOf = (place: number): number => Math.round((place * 137.5) % 360);

/** Is read on the page's ground, on the tint of the same place, and below white or black. */
export const colour = (place: number): string => `light-dark(hsl(${hueOf(place)} 70% 25%), hsl(${hueOf(place)} 75% 78%))`;
export const tint = (place: number): string => `light-dark(hsl(${hueOf(place)} 80% 90%), hsl(${hueOf(place)} 45% 24%))`;

/** Each thing's place among its kind: the same label has the same colour. */
export function placesOf(labels: string[]): number[] {
  const known = [...new Set(labels)];
  return labels.map((label) => known.indexOf(label));
}
