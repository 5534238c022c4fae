import type { Api } from "../api";
import { announce } from "../page/announce";
import { element, setText } from "../page/dom";
import type { Preferences } from "../page/preferences";
import { noAnswer, Problem } from "../problem";
import { guardPastes } from "./clipboard";
import { endingOf, endingOfRefusal, type Ending } from "./ending";
import { Notice } from "./notice";
import { attachPageKeys, type PageKeyActions } from "./page-keys";
import { Screen } from "./screen";
import { inputMessages, readDeviceMessage, readNews, SUB_PROTOCOL, type News } from "./ttyd";

const OPENING_DEADLINE_MS = 20_000;

/** A tab's content: somebody else's session as it is now, and a way to type along where its person allows that. */
export class WatchView {
  readonly element: HTMLElement;
  private readonly screen: Screen;
  private readonly room = element("div", { class: "screen shown-as-is" });
  private readonly state = element("span", { class: "connection-state" }, "Connecting…");
  private readonly notice = new Notice(() => void this.connect());
  private readonly fitting = new ResizeObserver(() => this.fit());
  private socket: WebSocket | undefined;
  private news: News | undefined;
  private isClosed = false;

  constructor(
    readonly sessionId: string,
    title: string,
    private readonly mayType: boolean,
    private readonly tickets: Pick<Api, "ticketToWatch">,
    private readonly preferences: Preferences,
    private readonly onPageKey: PageKeyActions["press"],
  ) {
    this.screen = new Screen(preferences);
    const toolbar = element("div", { class: "toolbar" }, element("h2", {}, title), this.state);
    this.element = element("section", { class: "terminal", role: "tabpanel" }, toolbar, this.room, this.notice.element);
  }

  /** To be called once, when the element can be seen. */
  start(): void {
    const { terminal } = this.screen;
    this.screen.mount(this.room);
    terminal.textarea?.setAttribute("aria-label", this.mayType ? "Terminal that you share" : "Terminal that you watch");
    attachPageKeys(terminal, { press: this.onPageKey, takesTab: () => this.mayType && this.element.dataset["state"] === "connected" });
    terminal.onData((data) => this.type(data));
    guardPastes(this.room, terminal);
    this.fitting.observe(this.room);
    void this.connect();
  }

  focus(): void {
    if (this.element.dataset["state"] === "ended") {
      this.notice.focus();
    } else {
      this.screen.terminal.focus();
    }
  }

  close(): void {
    this.isClosed = true;
    this.fitting.disconnect();
    this.socket?.close(1000);
    this.screen.terminal.dispose();
    this.element.remove();
  }

  private async connect(): Promise<void> {
    this.notice.hide();
    this.showState("connecting", "Connecting…");
    this.screen.terminal.reset();
    try {
      const { secret } = await this.tickets.ticketToWatch(this.sessionId, this.mayType);
      if (!this.isClosed) {
        this.open(secret);
      }
    } catch (error) {
      this.end(endingOfRefusal(error instanceof Problem ? error : noAnswer()));
    }
  }

  private open(ticket: string): void {
    const socket = new WebSocket(watchAddress(this.sessionId, ticket, this.mayType), [SUB_PROTOCOL]);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    const deadline = setTimeout(() => socket.close(), OPENING_DEADLINE_MS);
    socket.addEventListener("open", () => {
      clearTimeout(deadline);
      const words = this.mayType ? "Connected, you may type" : "Watching";
      this.showState("connected", words);
      announce(words);
    });
    socket.addEventListener("message", (event: MessageEvent<ArrayBuffer | string>) => this.receive(event.data));
    socket.addEventListener("close", (event) => {
      clearTimeout(deadline);
      if (!this.isClosed && socket === this.socket) {
        this.end(event.reason === "session-ended" ? SESSION_ENDED : endingOf(event.code, event.reason));
      }
    });
  }

  private receive(data: ArrayBuffer | string): void {
    if (typeof data === "string") {
      this.hear(readNews(data));
      return;
    }
    const message = readDeviceMessage(data);
    if (message.kind === "output") {
      this.screen.write(message.bytes);
    }
  }

  private hear(news: News | undefined): void {
    if (news === undefined) {
      return;
    }
    this.news = news;
    this.screen.resize(news.columns, news.rows);
    this.fit();
    if (news.lost > 0) {
      this.screen.sayLost(news.lost);
    }
  }

  private type(data: string): void {
    if (this.news?.may_type === true && this.socket?.readyState === WebSocket.OPEN) {
      for (const message of inputMessages(data)) {
        this.socket.send(message);
      }
    }
  }

  /** The size is that of the session's own page; letters shrink until it has room here. */
  private fit(): void {
    this.screen.shrinkTo(this.room, this.preferences.fontSize);
  }

  private end(ending: Ending): void {
    this.showState("ended", "Not connected");
    this.notice.show(ending);
  }

  private showState(state: "connecting" | "connected" | "ended", words: string): void {
    this.element.dataset["state"] = state;
    this.state.dataset["state"] = state;
    this.screen.terminal.options.disableStdin = state !== "connected" || !this.mayType;
    setText(this.state, words);
  }
}

const SESSION_ENDED: Ending = { title: "The session ended", advice: "There is nothing more to see.", tone: "calm", comesBack: false };

function watchAddress(sessionId: string, ticket: string, mayType: boolean): URL {
  const address = new URL(`/sessions/${encodeURIComponent(sessionId)}/watch`, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.searchParams.set("ticket", ticket);
  if (mayType) {
    address.searchParams.set("type", "true");
  }
  return address;
}
