import type { Device, Fleet } from "../api";
import { announce } from "../page/announce";
import { element, headings, setText } from "../page/dom";
import { Rows } from "../page/rows";
import type { Problem } from "../problem";
import { DeviceRow } from "./row";
import { matching } from "./wording";

/** A table longer than this helps nobody, and a fleet may have tens of thousands of devices. */
const MAX_ROWS = 200;
const COLUMNS: readonly (readonly [heading: string, style: string])[] = [
  ["Device", ""],
  ["Type", "optional"],
  ["Group", "optional"],
  ["State", ""],
  ["Connection", ""],
  ["Actions", "action"],
];

export interface FleetActions {
  open(deviceId: string): void;
  examine(deviceId: string): void;
}

/** The list of devices: a filter, a table that refreshes in place, and a line that says what is shown. */
export class FleetView {
  readonly element: HTMLElement;
  private readonly filter = element("input", {
    type: "search",
    class: "filter",
    placeholder: "Filter by name, type, group or state",
    "aria-label": "Filter devices",
    autocomplete: "off",
    spellcheck: "false",
  });
  private readonly summary = element("p", { class: "summary" }, "Loading the devices…");
  private readonly trouble = element("p", { class: "trouble", role: "alert", hidden: "" });
  private readonly empty = element("p", { class: "empty", hidden: "" });
  private readonly rows: Rows<Device>;
  private readonly table: HTMLTableElement;
  private devices: readonly Device[] = [];
  private isCut = false;

  constructor(actions: FleetActions, filter: string) {
    this.rows = new Rows((device) => new DeviceRow(device, () => actions.open(device.id), () => actions.examine(device.id)));
    this.filter.value = filter;
    this.filter.addEventListener("input", () => this.onFilter());
    this.table = element("table", { class: "devices", hidden: "" }, element("caption", { class: "for-screen-readers" }, "Devices"), headings(COLUMNS), this.rows.element);
    this.element = element(
      "section",
      { class: "fleet", role: "tabpanel", id: "panel-devices", "aria-labelledby": "tab-devices" },
      element("div", { class: "fleet-head" }, element("h1", {}, "Devices"), this.summary, this.filter),
      this.trouble,
      this.table,
      this.empty,
    );
  }

  /** What the server is to look for, where it has more devices than it says at once. */
  get textToAskFor(): string {
    return this.isCut ? longestWord(this.filter.value) : "";
  }

  show(fleet: Fleet): void {
    this.isCut ||= fleet.next !== null;
    this.devices = [...fleet.devices].sort((one, other) => one.id.localeCompare(other.id, "en", { numeric: true }));
    this.trouble.hidden = true;
    this.table.classList.remove("stale");
    this.render();
  }

  showTrouble(problem: Problem): void {
    setText(this.trouble, `The list could not be refreshed. ${problem.title}. ${problem.detail}`);
    this.trouble.hidden = false;
    this.table.classList.add("stale");
  }

  focus(): void {
    this.filter.focus();
  }

  private onFilter(): void {
    const text = this.filter.value.trim();
    history.replaceState(null, "", text === "" ? "/" : `/#filter=${encodeURIComponent(text)}`);
    this.render();
    announce(this.summary.textContent);
  }

  private render(): void {
    const found = matching(this.devices, this.filter.value);
    const shown = found.slice(0, MAX_ROWS);
    this.rows.show(shown);
    this.table.hidden = shown.length === 0;
    this.empty.hidden = shown.length > 0;
    setText(this.empty, this.devices.length === 0 ? "There is no device here for you yet." : "No device matches this filter.");
    setText(this.summary, summaryWords(this.devices, found.length, shown.length, this.isCut));
  }
}

/** The filter that stands in the page's address, as in `/#filter=pump`. */
export function filterInAddress(hash: string): string {
  return new URLSearchParams(hash.replace(/^#/, "")).get("filter") ?? "";
}

function longestWord(text: string): string {
  const words = text.trim().split(/\s+/);
  return words.reduce((longest, word) => (word.length > longest.length ? word : longest), "");
}

function summaryWords(devices: readonly Device[], found: number, shown: number, isCut: boolean): string {
  const online = devices.filter((device) => device.online).length;
  const many = isCut ? "Part of a large fleet: " : "";
  const all = `${many}${counted(devices.length, "device")}, ${online.toLocaleString("en")} online`;
  if (shown < found) {
    return `${all}. The first ${shown} of ${found.toLocaleString("en")} are shown: filter to see others.`;
  }
  return found < devices.length ? `${all}. ${counted(found, "match", "matches")}.` : `${all}.`;
}

function counted(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
