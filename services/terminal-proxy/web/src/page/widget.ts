import type { Api, Fleet } from "../api";
import { TerminalView } from "../terminal/view";
import { element } from "./dom";
import { LoginEnded } from "./login-ended";
import { Poll } from "./poll";
import { changed, loadPreferences, savePreferences } from "./preferences";
import { browserStorage } from "./storage";

const PATH = "/ui/terminal/";

/** The device in the address `/ui/terminal/ID`: what another site shows in a frame. */
export function deviceInAddress(path: string): string | undefined {
  const id = path.startsWith(PATH) ? path.slice(PATH.length) : "";
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(id) ? id : undefined;
}

/** One device's terminal and nothing else. */
export class Widget {
  readonly element: HTMLElement;
  private readonly view: TerminalView;
  private readonly poll: Poll<Fleet>;
  private readonly loginEnded: LoginEnded;
  private preferences = loadPreferences(browserStorage());

  constructor(deviceId: string, api: Api, loginAgain: () => void) {
    this.loginEnded = new LoginEnded(loginAgain);
    this.view = new TerminalView(deviceId, api, this.preferences, {
      stateChanged: () => {},
      pageKey: (key) => {
        if (key === "leave") {
          this.view.focusToolbar();
        }
      },
      changePreferences: (change) => {
        this.preferences = changed(this.preferences, change);
        savePreferences(browserStorage(), this.preferences);
        this.view.apply(this.preferences);
      },
    });
    this.poll = new Poll(() => api.fleet(deviceId), {
      news: (fleet) => {
        const device = fleet.devices.find((one) => one.id === deviceId);
        this.view.showUpdate(device?.update === "running");
      },
      // The terminal says itself what does not work.
      trouble: () => {},
    });
    this.view.element.removeAttribute("role");
    document.title = `${deviceId} · iot-bridge`;
    this.element = element("div", { class: "workplace" }, this.loginEnded.element, element("main", { class: "panels" }, this.view.element));
  }

  start(): void {
    this.view.start();
    this.poll.start();
    this.view.focus();
  }

  showLoginEnded(): void {
    this.loginEnded.show();
    this.poll.stop();
  }

  goOn(): void {
    this.loginEnded.hide();
    this.poll.start();
  }
}
