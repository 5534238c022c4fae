/** How this person likes terminals to look. Nothing secret; kept in this browser. */
export interface Preferences {
  readonly fontSize: number;
  readonly screenReader: boolean;
}

export const MIN_FONT_SIZE = 9;
export const MAX_FONT_SIZE = 28;

const KEY = "iot-bridge.preferences";
const DEFAULT: Preferences = { fontSize: 14, screenReader: false };

export function loadPreferences(storage: Storage): Preferences {
  try {
    const kept = JSON.parse(storage.getItem(KEY) ?? "{}") as Partial<Preferences>;
    return {
      fontSize: clampFontSize(Number(kept.fontSize ?? DEFAULT.fontSize)),
      screenReader: kept.screenReader === true,
    };
  } catch {
    return DEFAULT;
  }
}

export function savePreferences(storage: Storage, preferences: Preferences): void {
  storage.setItem(KEY, JSON.stringify(preferences));
}

export function clampFontSize(size: number): number {
  return Number.isFinite(size) ? Math.min(MAX_FONT_SIZE, Math.max(MIN_FONT_SIZE, Math.round(size))) : DEFAULT.fontSize;
}
