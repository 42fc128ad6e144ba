// A colour a region, in the order in which they were made. Strong tones carry white text (contrast ≥ 4.5), bright ones stand on dark paper.

export interface Tone {
  readonly strong: string;
  readonly bright: string;
}

export const TONES: readonly Tone[] = [
  { strong: '#b4232c', bright: '#ff8a8a' },
  { strong: '#1f5fbf', bright: '#86b7ff' },
  { strong: '#0b7261', bright: '#5fd6bd' },
  { strong: '#8a4b00', bright: '#f3b562' },
  { strong: '#7a3fc4', bright: '#c9a6ff' },
  { strong: '#b01e74', bright: '#ff94cd' },
  { strong: '#4d6b00', bright: '#bcd95f' },
  { strong: '#2f6673', bright: '#8fd0df' },
];

export const tone = (index: number): Tone => TONES[((index % TONES.length) + TONES.length) % TONES.length]!;

/** Relative luminance of #rrggbb (WCAG 2). */
export function luminance(hex: string): number {
  const part = (at: number): number => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5);
}

export function contrast(a: string, b: string): number {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

/** Heat from nothing to all: dark blue, teal, yellow; perceptually even, and told apart by the colour-blind (a short cividis). */
const HEAT: readonly (readonly [number, number, number])[] = [
  [0, 32, 76],
  [49, 68, 107],
  [87, 92, 109],
  [122, 119, 121],
  [164, 148, 112],
  [208, 184, 89],
  [255, 234, 70],
];

export function heat(share: number): [number, number, number] {
  const at = Math.min(1, Math.max(0, share)) * (HEAT.length - 1);
  const low = Math.min(HEAT.length - 2, Math.floor(at));
  const part = at - low;
  const [a, b] = [HEAT[low]!, HEAT[low + 1]!];
  return [0, 1, 2].map((k) => Math.round(a[k]! + (b[k]! - a[k]!) * part)) as [number, number, number];
}
