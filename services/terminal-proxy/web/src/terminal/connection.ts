import type { Api, Ticket } from "../api";
import { noAnswer, Problem } from "../problem";
import { endingByFlood, endingOf, endingOfRefusal, endingOfResumable, endingWithoutAnswer, type Ending } from "./ending";
import { Renewal } from "./renewal";
import { Numbering, type ResumePoint } from "./resume";
import { helloMessage, inputMessages, readDeviceMessage, readGreeting, resizeMessage, RESUME_SUB_PROTOCOL, SUB_PROTOCOL, type Greeting, type Size } from "./ttyd";

const OPENING_DEADLINE_MS = 20_000;

/** A browser cannot hold a WebSocket back. Beyond this much undrawn output the page gives up, and says so. */
const MAX_UNDRAWN_BYTES = 32 * 1024 * 1024;

/** What the connection asks of the proxy besides the terminal itself; both throw a `Problem`. */
export type TicketOffice = Pick<Api, "ticket" | "renewSession">;

/** What the connection tells the terminal. After `ended` nothing else comes. */
export interface ConnectionEvents {
  /** With a greeting when the shell survives a lost connection. */
  opened(sessionId: string, greeting: Greeting | undefined): void;
  /** `drawn` is to be called when the output is on the screen. */
  output(bytes: Uint8Array, drawn: () => void): void;
  title(title: string): void;
  ended(ending: Ending): void;
}

/** One shell on one device: ticket, WebSocket, ttyd's protocol, and one reason when it is over. */
export class Connection {
  private socket: WebSocket | undefined;
  private isOpen = false;
  private isOver = false;
  private undrawnBytes = 0;
  private lifetime = 0;
  private renewal: Renewal | undefined;
  private numbering: Numbering | undefined;

  constructor(
    private readonly deviceId: string,
    private readonly tickets: TicketOffice,
    private readonly events: ConnectionEvents,
    private readonly resume?: ResumePoint,
  ) {}

  /** Where to go on, if the shell is still there; none when it is not of that kind. */
  get resumePoint(): ResumePoint | undefined {
    return this.numbering?.point;
  }

  async open(size: () => Size): Promise<void> {
    let ticket: Ticket;
    try {
      ticket = await this.tickets.ticket(this.deviceId);
    } catch (error) {
      this.end(endingOfRefusal(error instanceof Problem ? error : noAnswer()));
      return;
    }
    if (!this.isOver) {
      this.connect(ticket, size);
    }
  }

  type(input: string | Uint8Array): void {
    if (this.isOpen) {
      for (const message of inputMessages(input)) {
        this.socket?.send(message);
      }
    }
  }

  resize(size: Size): void {
    if (this.isOpen) {
      this.socket?.send(resizeMessage(size));
    }
  }

  /** Leaves without a word: the person closed the tab. */
  close(): void {
    this.isOver = true;
    this.leave();
  }

  private connect(ticket: Ticket, size: () => Size): void {
    const socket = new WebSocket(terminalAddress(this.deviceId, ticket.secret, this.resume), [RESUME_SUB_PROTOCOL, SUB_PROTOCOL]);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    const deadline = setTimeout(() => socket.close(), OPENING_DEADLINE_MS);
    socket.addEventListener("open", () => {
      clearTimeout(deadline);
      this.isOpen = true;
      this.lifetime = ticket.sessionSeconds;
      socket.send(helloMessage(size()));
      if (socket.protocol !== RESUME_SUB_PROTOCOL) {
        this.begin(ticket.sessionId, undefined);
      }
    });
    socket.addEventListener("message", (event: MessageEvent<ArrayBuffer | string>) => this.receive(event.data));
    socket.addEventListener("close", (event) => {
      clearTimeout(deadline);
      if (this.isOpen) {
        this.end(this.numbering === undefined ? endingOf(event.code, event.reason) : endingOfResumable(event.code, event.reason));
      } else {
        void this.explainRefusal();
      }
    });
  }

  private begin(sessionId: string, greeting: Greeting | undefined): void {
    this.renewal = new Renewal(() => this.tickets.renewSession(sessionId));
    this.renewal.start(this.lifetime);
    this.events.opened(sessionId, greeting);
  }

  private receive(data: ArrayBuffer | string): void {
    if (this.isOver) {
      return;
    }
    if (typeof data === "string" && this.socket?.protocol === RESUME_SUB_PROTOCOL) {
      this.greet(data);
      return;
    }
    const message = readDeviceMessage(data);
    switch (message.kind) {
      case "output":
        this.show(message.bytes);
        break;
      case "title":
        this.events.title(message.title);
        break;
      // The device does not choose how this page looks.
      case "preferences":
      case "unknown":
        break;
    }
  }

  /** Only the first text is the proxy's: every other one would be the device's. */
  private greet(text: string): void {
    const greeting = this.numbering === undefined ? readGreeting(text) : undefined;
    if (greeting !== undefined) {
      this.numbering = new Numbering(greeting, (message) => this.socket?.send(message));
      this.begin(greeting.session_id, greeting);
    }
  }

  private show(bytes: Uint8Array): void {
    this.undrawnBytes += bytes.length;
    if (this.undrawnBytes > MAX_UNDRAWN_BYTES) {
      this.end(endingByFlood());
      return;
    }
    this.numbering?.received(bytes.length);
    this.events.output(bytes, () => {
      this.undrawnBytes -= bytes.length;
      if (this.isOpen) {
        this.numbering?.drawn(bytes.length);
      }
    });
  }

  /** A browser hides why an upgrade was refused; asking for another ticket often tells. */
  private async explainRefusal(): Promise<void> {
    if (this.isOver) {
      return;
    }
    try {
      await this.tickets.ticket(this.deviceId);
      this.end(endingWithoutAnswer());
    } catch (error) {
      this.end(endingOfRefusal(error instanceof Problem ? error : noAnswer()));
    }
  }

  private end(ending: Ending): void {
    if (!this.isOver) {
      this.isOver = true;
      this.leave();
      this.events.ended(ending);
    }
  }

  private leave(): void {
    this.isOpen = false;
    this.renewal?.stop();
    this.socket?.close(1000);
  }
}

function terminalAddress(deviceId: string, ticket: string, resume: ResumePoint | undefined): URL {
  const address = new URL(`/terminal/${encodeURIComponent(deviceId)}`, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.searchParams.set("ticket", ticket);
  if (resume !== undefined) {
    address.searchParams.set("resume", resume.sessionId);
    address.searchParams.set("offset", String(resume.offset));
  }
  return address;
}
