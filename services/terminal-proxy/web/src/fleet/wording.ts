import type { Device } from "../api";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long ago, short enough for a table. */
export function ageWords(seconds: number): string {
  if (seconds < 2) {
    return "just now";
  }
  if (seconds < 2 * MINUTE) {
    return `${Math.floor(seconds)} s ago`;
  }
  if (seconds < 2 * HOUR) {
    return `${Math.floor(seconds / MINUTE)} min ago`;
  }
  return seconds < 2 * DAY ? `${Math.floor(seconds / HOUR)} h ago` : `${Math.floor(seconds / DAY)} days ago`;
}

/** The device's network in a word or two; the age is that of the last WireGuard handshake. */
export function connectionWords(device: Pick<Device, "online" | "handshake_age_seconds">): { state: string; age: string } {
  const age = device.handshake_age_seconds;
  if (age === null) {
    return device.online ? { state: "Online", age: "" } : { state: "Never seen", age: "" };
  }
  return { state: device.online ? "Online" : "Away", age: ageWords(age) };
}

/** Devices in which every word of the filter is found, in any of the columns. */
export function matching(devices: readonly Device[], filter: string): Device[] {
  const words = filter.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return devices.filter((device) => {
    const text = searchText(device);
    return words.every((word) => text.includes(word));
  });
}

function searchText(device: Device): string {
  const { state } = connectionWords(device);
  return [device.id, device.display_name, device.device_type, device.group, device.state, state, device.address]
    .filter((part) => part !== null)
    .join("\n")
    .toLowerCase();
}
