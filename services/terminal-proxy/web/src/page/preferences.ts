import type { Keeping } from "./storage";

/** How this person likes terminals to look. Nothing secret; kept in this browser. */
export interface Preferences {
  readonly fontSize: number;
  readonly screenReader: boolean;
  /** A row of keys that a phone's keyboard lacks. */
  readonly phoneKeys: boolean;
}

export const MIN_FONT_SIZE = 9;
export const MAX_FONT_SIZE = 28;

const KEY = "iot-bridge.preferences";
const DEFAULT = { fontSize: 14, screenReader: false };

export interface PreferenceChange {
  readonly fontSizeBy?: number;
  readonly toggleScreenReader?: boolean;
  readonly togglePhoneKeys?: boolean;
}

/** Who touches the screen has a keyboard that lacks keys, as long as they do not say otherwise. */
export function loadPreferences(storage: Keeping, touches = matchMedia("(pointer: coarse)").matches): Preferences {
  try {
    const kept = JSON.parse(storage.getItem(KEY) ?? "{}") as Partial<Preferences>;
    return {
      fontSize: clampFontSize(Number(kept.fontSize ?? DEFAULT.fontSize)),
      screenReader: kept.screenReader === true,
      phoneKeys: kept.phoneKeys ?? touches,
    };
  } catch {
    return { ...DEFAULT, phoneKeys: touches };
  }
}

export function changed(preferences: Preferences, change: PreferenceChange): Preferences {
  return {
    fontSize: clampFontSize(preferences.fontSize + (change.fontSizeBy ?? 0)),
    screenReader: preferences.screenReader !== (change.toggleScreenReader === true),
    phoneKeys: preferences.phoneKeys !== (change.togglePhoneKeys === true),
  };
}

export function savePreferences(storage: Keeping, preferences: Preferences): void {
  storage.setItem(KEY, JSON.stringify(preferences));
}

export function clampFontSize(size: number): number {
  return Number.isFinite(size) ? Math.min(MAX_FONT_SIZE, Math.max(MIN_FONT_SIZE, Math.round(size))) : DEFAULT.fontSize;
}
