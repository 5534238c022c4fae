import type { Api } from "../api";
import { showDoctor } from "../doctor/report";
import { announce } from "../page/announce";
import { element, setText } from "../page/dom";
import { tabStorage } from "../page/storage";
import type { PreferenceChange, Preferences } from "../page/preferences";
import { copySelection, guardPastes, pasteFromClipboard } from "./clipboard";
import { comebackDelayMs } from "./comeback";
import { Connection } from "./connection";
import type { Ending } from "./ending";
import type { PageKey } from "./keys";
import { Notice } from "./notice";
import { attachPageKeys } from "./page-keys";
import { PhoneKeys } from "./phone-keys";
import { OpenShells, type ResumePoint } from "./resume";
import { Screen } from "./screen";
import { Sharing } from "./sharing";
import { shownTitle } from "./title";
import { Toolbar, type ConnectionState } from "./toolbar";
import type { Greeting } from "./ttyd";

/** While a window is dragged larger its size changes at every frame; the device hears the last one. */
const RESIZE_QUIET_MS = 100;

export interface TerminalEvents {
  stateChanged(state: ConnectionState): void;
  pageKey(key: Exclude<PageKey, "copy">): void;
  changePreferences(change: PreferenceChange): void;
}

/** A tab's content: toolbar, screen and, at the end, the reason. Lives until its tab is closed. */
export class TerminalView {
  readonly element: HTMLElement;
  private readonly screen: Screen;
  private readonly room = element("div", { class: "screen" });
  private readonly toolbar: Toolbar;
  private readonly update = element("p", { class: "update", role: "status", hidden: "" });
  private readonly notice: Notice;
  private readonly sharing: Sharing;
  private readonly phoneKeys: PhoneKeys;
  private readonly watcher = new ResizeObserver(() => this.screen.fit());
  private connection: Connection | undefined;
  private currentState: ConnectionState = "connecting";
  private hasHadShell = false;
  private comebacks = 0;
  private readonly shells = new OpenShells(tabStorage());
  private resume: ResumePoint | undefined;
  private timers: { resize?: number; comeback?: number } = {};

  constructor(
    readonly deviceId: string,
    private readonly api: Api,
    preferences: Preferences,
    private readonly events: TerminalEvents,
  ) {
    this.screen = new Screen(preferences);
    this.notice = new Notice(() => this.connect(), () => void showDoctor(api, deviceId));
    this.sharing = new Sharing(api);
    this.phoneKeys = new PhoneKeys((input) => this.screen.terminal.input(input), () => this.screen.terminal.modes.applicationCursorKeysMode);
    const actions = {
      smaller: () => events.changePreferences({ fontSizeBy: -1 }),
      larger: () => events.changePreferences({ fontSizeBy: 1 }),
      copy: () => void copySelection(this.screen.terminal),
      paste: () => void pasteFromClipboard(this.screen.terminal),
      toggleScreenReader: () => events.changePreferences({ toggleScreenReader: true }),
      togglePhoneKeys: () => events.changePreferences({ togglePhoneKeys: true }),
    };
    this.toolbar = new Toolbar(deviceId, actions, this.sharing.button);
    this.showPreferences(preferences);
    this.element = element("section", { class: "terminal", role: "tabpanel" }, this.toolbar.element, this.update, this.room, this.phoneKeys.element, this.notice.element);
  }

  /** Whether a reload or a lost network ends the shell. */
  get isFragile(): boolean {
    return this.currentState === "connected" && this.connection?.resumePoint === undefined;
  }

  get state(): ConnectionState {
    return this.currentState;
  }

  /** To be called once, when the element can be seen: xterm.js measures the room it has. */
  start(): void {
    const { terminal } = this.screen;
    this.screen.mount(this.room);
    terminal.textarea?.setAttribute("aria-label", `Terminal of ${this.deviceId}`);
    attachPageKeys(terminal, { press: (key) => this.events.pageKey(key), takesTab: () => this.currentState !== "ended" });
    terminal.onData((data) => this.connection?.type(this.phoneKeys.apply(data)));
    terminal.onBinary((data) => this.connection?.type(Uint8Array.from(data, (character) => character.charCodeAt(0))));
    terminal.onTitleChange((title) => this.toolbar.showTitle(shownTitle(title)));
    terminal.onResize(() => this.onResize());
    guardPastes(this.room, terminal);
    this.watcher.observe(this.room);
    const sessionId = this.shells.sessionOf(this.deviceId);
    this.resume = sessionId === undefined ? undefined : { sessionId, offset: 0 };
    this.connect();
  }

  /** The person asked for this device again: a terminal that has ended gets a new shell. */
  reopen(): void {
    if (this.currentState === "ended") {
      this.connect();
    }
  }

  focus(): void {
    if (this.currentState === "ended") {
      this.notice.focus();
    } else {
      this.screen.terminal.focus();
    }
  }

  /** Out of the terminal, which takes every key, to the buttons. */
  focusToolbar(): void {
    this.toolbar.focus();
  }

  apply(preferences: Preferences): void {
    this.showPreferences(preferences);
    this.screen.apply(preferences);
  }

  /** Whoever works on a device should know that it may restart under his hands. */
  showUpdate(isRunning: boolean): void {
    if (isRunning === this.update.hidden) {
      this.update.hidden = !isRunning;
      setText(this.update, isRunning ? "An update is running on this device. It may restart at any moment." : "");
      this.screen.fit();
    }
  }

  close(): void {
    this.watcher.disconnect();
    clearTimeout(this.timers.resize);
    clearTimeout(this.timers.comeback);
    this.connection?.close();
    this.shells.forget(this.deviceId);
    this.screen.terminal.dispose();
    this.element.remove();
  }

  private showPreferences(preferences: Preferences): void {
    this.toolbar.showPreferences(preferences);
    this.phoneKeys.element.hidden = !preferences.phoneKeys;
  }

  private connect(): void {
    clearTimeout(this.timers.comeback);
    this.notice.hide();
    this.setState("connecting");
    const events = {
      opened: (sessionId: string, greeting: Greeting | undefined) => this.onOpened(sessionId, greeting),
      output: (bytes: Uint8Array, drawn: () => void) => this.screen.terminal.write(bytes, drawn),
      title: (title: string) => this.toolbar.showTitle(shownTitle(title)),
      ended: (ending: Ending) => this.onEnded(ending),
    };
    this.connection = new Connection(this.deviceId, this.api, events, this.resume);
    void this.connection.open(() => this.screen.size);
  }

  private onOpened(sessionId: string, greeting: Greeting | undefined): void {
    this.setState("connected");
    const goesOn = greeting?.resumed === true;
    void this.sharing.follow(sessionId, goesOn);
    const isNew = !goesOn && (this.hasHadShell || this.resume !== undefined);
    if (isNew) {
      this.screen.startNewShell();
    }
    if (greeting !== undefined) {
      this.shells.remember(this.deviceId, greeting.session_id);
      if (greeting.lost > 0) {
        this.screen.sayLost(greeting.lost);
      }
    }
    this.resume = this.connection?.resumePoint;
    const again = isNew ? " This is a new shell." : goesOn ? " Your shell has gone on." : "";
    announce(`Connected to ${this.deviceId}.${again}`);
    this.hasHadShell = true;
    this.comebacks = 0;
    if (!this.element.hidden) {
      this.focus();
    }
  }

  private onEnded(ending: Ending): void {
    this.resume = this.connection?.resumePoint ?? this.resume;
    // A try to come back that finds nobody yet is still the same restart.
    const comingBack = ending.comesBack || this.comebacks > 0;
    const delay = comingBack ? comebackDelayMs(this.comebacks + 1) : undefined;
    this.toolbar.showTitle("");
    this.sharing.stop();
    this.setState("ended");
    if (delay === undefined) {
      this.comebacks = 0;
      if (!comingBack && ending.goesOn !== true) {
        this.resume = undefined;
        this.shells.forget(this.deviceId);
      }
      this.notice.show(ending);
      // Someone who was typing keeps the focus, or the next Enter would reconnect.
      if (!this.hasHadShell && !this.element.hidden) {
        this.notice.focus();
      }
      return;
    }
    this.comebacks += 1;
    this.notice.show(ending, `Next try in ${Math.ceil(delay / 1000)} s.`);
    this.timers.comeback = window.setTimeout(() => this.connect(), delay);
  }

  private onResize(): void {
    clearTimeout(this.timers.resize);
    this.timers.resize = window.setTimeout(() => this.connection?.resize(this.screen.size), RESIZE_QUIET_MS);
  }

  private setState(state: ConnectionState): void {
    this.currentState = state;
    this.screen.terminal.options.disableStdin = state !== "connected";
    this.element.dataset["state"] = state;
    this.toolbar.showState(state);
    this.events.stateChanged(state);
  }
}
