import type { Api } from "../api";
import { announce } from "../page/announce";
import { tell } from "../page/dialog";
import { button, element } from "../page/dom";
import { noAnswer, Problem } from "../problem";

/** Lets other operators of the device into one's own session, and says where they find it. */
export class Sharing {
  readonly button: HTMLButtonElement;
  private sessionId: string | undefined;
  private isShared = false;

  constructor(private readonly api: Pick<Api, "shareSession" | "findSession">) {
    this.button = button("Share", { class: "button quiet", "aria-pressed": "false", hidden: "" }, () => void this.toggle());
  }

  /** The session that is open now; one that went on may be shared already. */
  async follow(sessionId: string, goesOn: boolean): Promise<void> {
    this.sessionId = sessionId;
    this.button.hidden = false;
    this.show(false);
    if (goesOn) {
      const session = await this.api.findSession(sessionId).catch(() => undefined);
      if (this.sessionId === sessionId) {
        this.show(session?.shared === true);
      }
    }
  }

  stop(): void {
    this.sessionId = undefined;
    this.button.hidden = true;
  }

  private async toggle(): Promise<void> {
    const { sessionId } = this;
    if (sessionId === undefined) {
      return;
    }
    try {
      await this.api.shareSession(sessionId, !this.isShared);
    } catch (error) {
      const problem = error instanceof Problem ? error : noAnswer();
      await tell("Nothing was changed", element("p", {}, `${problem.title}. ${problem.detail}`));
      return;
    }
    this.show(!this.isShared);
    if (this.isShared) {
      await invite(new URL(`/#join=${encodeURIComponent(sessionId)}`, location.origin).href);
    } else {
      announce("Nobody else may type any more");
    }
  }

  private show(isShared: boolean): void {
    this.isShared = isShared;
    this.button.setAttribute("aria-pressed", String(isShared));
    this.button.textContent = isShared ? "Stop sharing" : "Share";
  }
}

function invite(link: string): Promise<void> {
  const field = element("input", { class: "filter link", readonly: "", "aria-label": "Link to this session" });
  field.value = link;
  field.addEventListener("focus", () => field.select());
  const copy = button("Copy the link", { class: "button" }, () => void copyLink(link));
  return tell(
    "Others may type along",
    element("p", {}, "Who opens this link and may open this device sees the terminal and types in it, under their own name, until you stop sharing."),
    element("div", { class: "invitation" }, field, copy),
  );
}

async function copyLink(link: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(link);
    announce("Copied");
  } catch {
    announce("The browser did not allow copying");
  }
}
