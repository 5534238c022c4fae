import type { Device, Fleet } from "../api";
import { announce } from "../page/announce";
import { element, setText } from "../page/dom";
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
  ["", "action"],
];

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
  private readonly body = element("tbody");
  private readonly table: HTMLTableElement;
  private readonly rows = new Map<string, DeviceRow>();
  private devices: readonly Device[] = [];

  constructor(
    private readonly onOpen: (device: Device) => void,
    filter: string,
  ) {
    this.filter.value = filter;
    this.filter.addEventListener("input", () => this.onFilter());
    this.table = element("table", { class: "devices", hidden: "" }, element("caption", { class: "for-screen-readers" }, "Devices"), heading(), this.body);
    this.element = element(
      "section",
      { class: "fleet", role: "tabpanel", id: "panel-devices", "aria-labelledby": "tab-devices" },
      element("div", { class: "fleet-head" }, element("h1", {}, "Devices"), this.summary, this.filter),
      this.trouble,
      this.table,
      this.empty,
    );
  }

  show(fleet: Fleet): void {
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
    this.placeRows(shown);
    this.table.hidden = shown.length === 0;
    this.empty.hidden = shown.length > 0;
    setText(this.empty, this.devices.length === 0 ? "There is no device here for you yet." : "No device matches this filter.");
    setText(this.summary, summaryWords(this.devices, found.length, shown.length));
  }

  private placeRows(shown: readonly Device[]): void {
    const wanted = new Set(shown.map((device) => device.id));
    for (const [id, row] of this.rows) {
      if (!wanted.has(id)) {
        row.element.remove();
        this.rows.delete(id);
      }
    }
    shown.forEach((device, index) => {
      const row = this.rowFor(device);
      // Moving a row that stands right already would take the focus out of it.
      if (this.body.children[index] !== row.element) {
        this.body.insertBefore(row.element, this.body.children[index] ?? null);
      }
    });
  }

  private rowFor(device: Device): DeviceRow {
    const known = this.rows.get(device.id);
    if (known !== undefined) {
      known.update(device);
      return known;
    }
    const row = new DeviceRow(device, () => this.onOpen(device));
    this.rows.set(device.id, row);
    return row;
  }
}

/** The filter that stands in the page's address, as in `/#filter=pump`. */
export function filterInAddress(hash: string): string {
  return new URLSearchParams(hash.replace(/^#/, "")).get("filter") ?? "";
}

function heading(): HTMLTableSectionElement {
  const cells = COLUMNS.map(([text, style]) => element("th", { scope: "col", class: style }, text));
  return element("thead", {}, element("tr", {}, ...cells));
}

function summaryWords(devices: readonly Device[], found: number, shown: number): string {
  const online = devices.filter((device) => device.online).length;
  const all = `${counted(devices.length, "device")}, ${online.toLocaleString("en")} online`;
  if (shown < found) {
    return `${all}. The first ${shown} of ${found.toLocaleString("en")} are shown: filter to see others.`;
  }
  return found < devices.length ? `${all}. ${counted(found, "match", "matches")}.` : `${all}.`;
}

function counted(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
