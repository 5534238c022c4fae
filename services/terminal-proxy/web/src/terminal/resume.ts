import type { Keeping } from "../page/storage";
import { acknowledgeMessage, type Greeting } from "./ttyd";

/** How much is drawn before the proxy hears of it; it sends on as long as its own, larger buffer has room. */
const ACKNOWLEDGE_BYTES = 8 * 1024;

/** A shell, and the number of the first byte of its output that this page has not received. */
export interface ResumePoint {
  readonly sessionId: string;
  readonly offset: number;
}

/** Counts output, and tells the proxy what is drawn. */
export class Numbering {
  private receivedUpTo: number;
  private drawnUpTo: number;
  private acknowledged: number;

  constructor(
    private readonly greeting: Greeting,
    private readonly send: (message: Uint8Array<ArrayBuffer>) => void,
  ) {
    this.receivedUpTo = greeting.offset;
    this.drawnUpTo = greeting.offset;
    this.acknowledged = greeting.offset;
  }

  get point(): ResumePoint {
    return { sessionId: this.greeting.session_id, offset: this.receivedUpTo };
  }

  received(bytes: number): void {
    this.receivedUpTo += bytes;
  }

  drawn(bytes: number): void {
    this.drawnUpTo += bytes;
    if (this.drawnUpTo - this.acknowledged >= ACKNOWLEDGE_BYTES) {
      this.acknowledged = this.drawnUpTo;
      this.send(acknowledgeMessage(this.drawnUpTo));
    }
  }
}

const PREFIX = "iot-bridge.shell.";

/** The shells of this browser tab, so that a reload finds them again. Ids only: what they allow is asked anew. */
export class OpenShells {
  constructor(private readonly storage: Keeping) {}

  remember(deviceId: string, sessionId: string): void {
    this.storage.setItem(PREFIX + deviceId, sessionId);
  }

  forget(deviceId: string): void {
    this.storage.removeItem(PREFIX + deviceId);
  }

  sessionOf(deviceId: string): string | undefined {
    return this.storage.getItem(PREFIX + deviceId) ?? undefined;
  }

  devices(): string[] {
    const keys = Array.from({ length: this.storage.length }, (_, index) => this.storage.key(index) ?? "");
    return keys.filter((key) => key.startsWith(PREFIX)).map((key) => key.slice(PREFIX.length)).sort();
  }
}
