import type { Device, DeviceState } from "../api";
import { button, element, setText } from "../page/dom";
import { connectionWords } from "./wording";

const STATE_WORDS: Readonly<Record<DeviceState, string>> = {
  admitted: "Admitted",
  enrolled: "Enrolled",
  quarantined: "Quarantined",
  retired: "Retired",
};

/** One device in the list. Updated in place, so that focus and selection survive a refresh. */
export class DeviceRow {
  readonly element: HTMLTableRowElement;
  private readonly name = element("span", { class: "device-name" });
  private readonly id = element("span", { class: "device-id" });
  private readonly type = element("td", { class: "optional" });
  private readonly group = element("td", { class: "optional" });
  private readonly state = element("span", { class: "badge" });
  private readonly connection = element("span", { class: "connection" });
  private readonly age = element("span", { class: "age" });
  private readonly open: HTMLButtonElement;
  private readonly check: HTMLButtonElement;
  private readonly noAccess = element("span", { class: "muted" }, "No access");

  constructor(device: Device, onOpen: () => void, onCheck: () => void) {
    this.check = button("Check", { class: "button quiet", "aria-label": `Check the way to ${device.id}` }, onCheck);
    this.open = button("Open", { class: "button open", "aria-label": `Open a terminal on ${device.id}` }, onOpen);
    this.element = element(
      "tr",
      { "data-device": device.id },
      element("th", { scope: "row" }, this.name, this.id),
      this.type,
      this.group,
      element("td", {}, this.state),
      element("td", {}, this.connection, this.age),
      element("td", { class: "action" }, this.open, this.noAccess, this.check),
    );
    this.update(device);
  }

  update(device: Device): void {
    const words = connectionWords(device);
    setText(this.name, device.display_name ?? device.id);
    setText(this.id, device.display_name === null ? "" : device.id);
    setText(this.type, device.device_type ?? "–");
    setText(this.group, device.group);
    setText(this.state, STATE_WORDS[device.state] ?? device.state);
    setText(this.connection, words.state);
    setText(this.age, words.age);
    this.state.dataset["state"] = device.state;
    this.connection.dataset["online"] = String(device.online);
    this.open.hidden = !device.may_open;
    this.noAccess.hidden = device.may_open;
  }
}
