import type { Api, Fleet, Session, User } from "../api";
import { showDoctor } from "../doctor/report";
import { FleetView, filterInAddress } from "../fleet/view";
import { PlaybackView } from "../recording/view";
import { SessionsView } from "../sessions/view";
import type { PageKey } from "../terminal/keys";
import { OpenShells } from "../terminal/resume";
import type { ConnectionState } from "../terminal/toolbar";
import { TerminalView } from "../terminal/view";
import { WatchView } from "../terminal/watch";
import { ask } from "./dialog";
import { button, element, setText } from "./dom";
import { LoginEnded } from "./login-ended";
import { Poll } from "./poll";
import { changed, loadPreferences, savePreferences, type PreferenceChange } from "./preferences";
import { browserStorage, tabStorage } from "./storage";
import { Tabs, type Tab } from "./tabs";

const FLEET_TAB = "devices";
const SESSIONS_TAB = "sessions";

export interface WorkplaceActions {
  logout(): void;
  loginAgain(): void;
}

/** Everything a person sees who is logged in: the header, the lists of devices and sessions, the open terminals. */
export class Workplace {
  readonly element: HTMLElement;
  private readonly tabs: Tabs;
  private readonly fleet: FleetView;
  private readonly sessions: SessionsView;
  private readonly poll: Poll<Fleet>;
  private readonly person = element("span", { class: "person" });
  private readonly loginEnded: LoginEnded;
  private readonly terminals = new Map<string, TerminalView>();
  private preferences = loadPreferences(browserStorage());

  constructor(
    private readonly api: Api,
    private readonly actions: WorkplaceActions,
  ) {
    const panels = element("main", { class: "panels" });
    this.tabs = new Tabs(panels);
    const fleetActions = { open: (id: string) => this.open(id), examine: (id: string) => void showDoctor(api, id) };
    this.fleet = new FleetView(fleetActions, filterInAddress(location.hash));
    this.sessions = new SessionsView(api, { watch: (session) => this.watch(session), play: (session) => this.playBack(session) });
    this.poll = new Poll(() => api.fleet(this.fleet.textToAskFor), {
      news: (fleet) => this.showFleet(fleet),
      trouble: (problem) => this.fleet.showTrouble(problem),
    });
    this.loginEnded = new LoginEnded(() => this.leave(actions.loginAgain));
    this.element = element("div", { class: "workplace" }, this.header(), this.loginEnded.element, panels);
    this.tabs.add({ id: FLEET_TAB, panel: this.fleet.element, shown: () => this.onFleetShown() }, "Devices");
    this.tabs.add({ id: SESSIONS_TAB, panel: this.sessions.element, shown: () => this.onSessionsShown(), hidden: () => this.sessions.hidden() }, "Sessions");
  }

  start(): void {
    window.addEventListener("beforeunload", this.onUnload);
    this.tabs.show(FLEET_TAB);
    this.poll.start();
    // A reload finds its shells again.
    for (const deviceId of new OpenShells(tabStorage()).devices()) {
      this.open(deviceId);
    }
    const invitation = new URLSearchParams(location.hash.slice(1)).get("join");
    if (invitation !== null) {
      history.replaceState(null, "", "/");
      this.join(invitation);
    }
  }

  showLoginEnded(): void {
    this.loginEnded.show();
    this.poll.stop();
  }

  /** The person logged in again, beside this page. */
  goOn(): void {
    window.addEventListener("beforeunload", this.onUnload);
    this.loginEnded.hide();
    this.poll.start();
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

  private showFleet(fleet: Fleet): void {
    this.fleet.show(fleet);
    this.sessions.showFor(fleet.user);
    for (const device of fleet.devices) {
      this.terminals.get(device.id)?.showUpdate(device.update === "running");
    }
    setText(this.person, personWords(fleet.user));
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
      pageKey: this.onPageKey,
      changePreferences: (change) => this.changePreferences(change),
    });
    this.terminals.set(deviceId, view);
    this.tabs.add(this.tab(tabOf(deviceId), view, deviceId, () => void this.close(view)), deviceId);
    return view;
  }

  private watch(session: Session): void {
    const title = `${session.username} on ${session.device_id}`;
    this.addOnce(`watch-${session.id}`, `Watch ${session.device_id}`, () => new WatchView(session.id, title, false, this.api, this.preferences, this.onPageKey));
  }

  private join(sessionId: string): void {
    this.addOnce(`join-${sessionId}`, "Shared terminal", () => new WatchView(sessionId, "Shared terminal", true, this.api, this.preferences, this.onPageKey));
  }

  private playBack(session: Session): void {
    this.addOnce(`play-${session.id}`, `Recording ${session.device_id}`, () => new PlaybackView(session, this.api, this.preferences, this.onPageKey));
  }

  /** A tab that shows something and loses nothing when it is closed. */
  private addOnce(id: string, label: string, make: () => WatchView | PlaybackView): void {
    if (!this.tabs.has(id)) {
      const view = make();
      const closing = (): void => {
        view.close();
        this.tabs.remove(id);
      };
      this.tabs.add(this.tab(id, view, label, closing), label);
      this.tabs.show(id);
      void view.start();
    }
    this.tabs.show(id);
  }

  private tab(id: string, view: { readonly element: HTMLElement; focus(): void }, label: string, closing: () => void): Tab {
    const shown = (): void => {
      document.title = `${label} · iot-bridge`;
      view.focus();
    };
    return { id, panel: view.element, shown, closing };
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

  private changePreferences(change: PreferenceChange): void {
    this.preferences = changed(this.preferences, change);
    savePreferences(browserStorage(), this.preferences);
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

  private onSessionsShown(): void {
    document.title = "Sessions · iot-bridge";
    this.sessions.shown();
  }

  private running(): number {
    return [...this.terminals.values()].filter((view) => view.state === "connected").length;
  }

  private readonly onPageKey = (key: Exclude<PageKey, "copy">): void => {
    if (key === "leave") {
      this.tabs.focusActive();
    } else {
      this.tabs.showNeighbour(key === "next-tab" ? 1 : -1);
    }
  };

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
