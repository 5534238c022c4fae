import type { Api, User } from "../api";
import { FleetPoll } from "../fleet/poll";
import { FleetView, filterInAddress } from "../fleet/view";
import type { ConnectionState } from "../terminal/toolbar";
import { OpenShells } from "../terminal/resume";
import { TerminalView } from "../terminal/view";
import { ask } from "./dialog";
import { button, element, setText } from "./dom";
import { clampFontSize, loadPreferences, savePreferences } from "./preferences";
import { Tabs } from "./tabs";

const FLEET_TAB = "devices";

export interface WorkplaceActions {
  logout(): void;
  loginAgain(): void;
}

/** Everything a person sees who is logged in: the header, the list of devices, the open terminals. */
export class Workplace {
  readonly element: HTMLElement;
  private readonly tabs: Tabs;
  private readonly fleet: FleetView;
  private readonly poll: FleetPoll;
  private readonly person = element("span", { class: "person" });
  private readonly loginEnded: HTMLElement;
  private readonly terminals = new Map<string, TerminalView>();
  private preferences = loadPreferences(localStorage);

  constructor(
    private readonly api: Api,
    private readonly actions: WorkplaceActions,
  ) {
    const panels = element("main", { class: "panels" });
    this.tabs = new Tabs(panels);
    this.fleet = new FleetView((device) => this.open(device.id), filterInAddress(location.hash));
    this.poll = new FleetPoll(() => api.fleet(), {
      fleet: (fleet) => {
        this.fleet.show(fleet);
        for (const device of fleet.devices) {
          this.terminals.get(device.id)?.showUpdate(device.update === "running");
        }
        setText(this.person, personWords(fleet.user));
      },
      trouble: (problem) => this.fleet.showTrouble(problem),
    });
    this.loginEnded = element(
      "div",
      { class: "login-ended", role: "alert", hidden: "" },
      element("p", {}, "Your login has ended. Open terminals go on until the server closes them."),
      button("Log in again", { class: "button primary" }, () => this.leave(actions.loginAgain)),
    );
    this.element = element("div", { class: "workplace" }, this.header(), this.loginEnded, panels);
    this.tabs.add({ id: FLEET_TAB, panel: this.fleet.element, shown: () => this.onFleetShown() }, "Devices");
  }

  start(): void {
    window.addEventListener("beforeunload", this.onUnload);
    this.tabs.show(FLEET_TAB);
    this.poll.start();
    // A reload finds its shells again.
    for (const deviceId of new OpenShells(sessionStorage).devices()) {
      this.open(deviceId);
    }
  }

  showLoginEnded(): void {
    this.loginEnded.hidden = false;
    this.poll.stop();
  }

  private header(): HTMLElement {
    return element(
      "header",
      { class: "header" },
      element("span", { class: "mark", title: "iot-bridge" }),
      this.tabs.element,
      this.person,
      button("Log out", { class: "button quiet" }, () => void this.logout()),
    );
  }

  private open(deviceId: string): void {
    const known = this.terminals.get(deviceId);
    const view = known ?? this.addTerminal(deviceId);
    this.tabs.show(tabOf(deviceId));
    if (known === undefined) {
      view.start();
    } else {
      view.reopen();
    }
  }

  private addTerminal(deviceId: string): TerminalView {
    const view = new TerminalView(deviceId, this.api, this.preferences, {
      stateChanged: (state) => this.describe(deviceId, state),
      pageKey: (key) => (key === "leave" ? this.tabs.focusActive() : this.tabs.showNeighbour(key === "next-tab" ? 1 : -1)),
      changePreferences: (change) => this.changePreferences(change),
    });
    const shown = (): void => {
      document.title = `${deviceId} · iot-bridge`;
      view.focus();
    };
    this.terminals.set(deviceId, view);
    this.tabs.add({ id: tabOf(deviceId), panel: view.element, shown, closing: () => void this.close(view) }, deviceId);
    return view;
  }

  private async close(view: TerminalView): Promise<void> {
    const question = { title: `Close ${view.deviceId}?`, text: "Its shell ends, and so does what runs in it.", yes: "Close" };
    if (view.state === "connected" && !(await ask(question))) {
      view.focus();
      return;
    }
    view.close();
    this.terminals.delete(view.deviceId);
    this.tabs.remove(tabOf(view.deviceId));
  }

  private describe(deviceId: string, state: ConnectionState): void {
    const words = { connecting: "connecting", connected: "connected", ended: "not connected" }[state];
    this.tabs.describe(tabOf(deviceId), state, `${deviceId}, ${words}`);
  }

  private changePreferences(change: { fontSizeBy?: number; toggleScreenReader?: boolean }): void {
    this.preferences = {
      fontSize: clampFontSize(this.preferences.fontSize + (change.fontSizeBy ?? 0)),
      screenReader: change.toggleScreenReader === true ? !this.preferences.screenReader : this.preferences.screenReader,
    };
    savePreferences(localStorage, this.preferences);
    for (const view of this.terminals.values()) {
      view.apply(this.preferences);
    }
  }

  private async logout(): Promise<void> {
    const running = this.running();
    const text = running === 1 ? "One open shell ends." : `${running} open shells end.`;
    if (running === 0 || (await ask({ title: "Log out?", text, yes: "Log out" }))) {
      this.closeTerminals();
      this.leave(this.actions.logout);
    }
  }

  private leave(how: () => void): void {
    window.removeEventListener("beforeunload", this.onUnload);
    how();
  }

  /** Who logs out leaves no shell behind that would wait for them. */
  private closeTerminals(): void {
    for (const view of this.terminals.values()) {
      view.close();
    }
    this.terminals.clear();
  }

  private onFleetShown(): void {
    document.title = "Devices · iot-bridge";
    this.fleet.focus();
  }

  private running(): number {
    return [...this.terminals.values()].filter((view) => view.state === "connected").length;
  }

  private readonly onUnload = (event: BeforeUnloadEvent): void => {
    if ([...this.terminals.values()].some((view) => view.isFragile)) {
      event.preventDefault();
    }
  };
}

function tabOf(deviceId: string): string {
  return `device-${deviceId}`;
}

function personWords(user: User): string {
  return `${user.username} · ${user.role}`;
}
