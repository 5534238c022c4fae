import type { Api, Session, User } from "../api";
import { announce } from "../page/announce";
import { ask, tell } from "../page/dialog";
import { element, headings, setText } from "../page/dom";
import { Poll } from "../page/poll";
import { Rows } from "../page/rows";
import { noAnswer, Problem } from "../problem";
import { SessionRow, type SessionActions } from "./row";
import { matchingSessions } from "./wording";

/** A table longer than this helps nobody. */
const MAX_ROWS = 200;

/** The list of sessions: one's own, everybody's for an admin. Asks for news only while it is seen. */
export class SessionsView {
  readonly element: HTMLElement;
  private readonly filter = element("input", {
    type: "search",
    class: "filter",
    placeholder: "Filter by device, person or address",
    "aria-label": "Filter sessions",
    autocomplete: "off",
    spellcheck: "false",
  });
  private readonly alsoEnded = element("input", { type: "checkbox" });
  private readonly summary = element("p", { class: "summary" }, "Loading the sessions…");
  private readonly trouble = element("p", { class: "trouble", role: "alert", hidden: "" });
  private readonly empty = element("p", { class: "empty", hidden: "" }, "No session is to be seen here.");
  private readonly table: HTMLTableElement;
  private readonly rows: Rows<Session>;
  private readonly poll: Poll<readonly Session[]>;
  private sessions: readonly Session[] = [];
  private user: User = { username: "", role: "viewer" };

  constructor(
    private readonly api: Pick<Api, "sessions" | "endSession">,
    actions: Omit<SessionActions, "end">,
  ) {
    const all = { ...actions, end: (session: Session) => void this.end(session) };
    this.rows = new Rows((session) => {
      const row = new SessionRow(session, this.user, all);
      return { element: row.element, update: (now) => row.update(now, this.user) };
    });
    this.poll = new Poll(() => api.sessions(this.alsoEnded.checked), {
      news: (sessions) => this.show(sessions),
      trouble: (problem) => this.showTrouble(problem),
    });
    this.filter.addEventListener("input", () => {
      this.render();
      announce(this.summary.textContent);
    });
    this.alsoEnded.addEventListener("change", () => this.poll.start());
    const columns = [["Device", ""], ["Person", ""], ["Began", "optional"], ["State", ""], ["Actions", "action"]] as const;
    this.table = element("table", { class: "devices sessions", hidden: "" }, element("caption", { class: "for-screen-readers" }, "Sessions"), headings(columns), this.rows.element);
    this.element = element(
      "section",
      { class: "fleet", role: "tabpanel" },
      element("div", { class: "fleet-head" }, element("h1", {}, "Sessions"), this.summary, element("label", { class: "choice" }, this.alsoEnded, " Also those that ended"), this.filter),
      this.trouble,
      this.table,
      this.empty,
    );
  }

  /** Who looks decides what is offered. */
  showFor(user: User): void {
    this.user = user;
  }

  shown(): void {
    this.poll.start();
    this.filter.focus();
  }

  hidden(): void {
    this.poll.stop();
  }

  private show(sessions: readonly Session[]): void {
    this.sessions = sessions;
    this.trouble.hidden = true;
    this.table.classList.remove("stale");
    this.render();
  }

  private showTrouble(problem: Problem): void {
    setText(this.trouble, `The list could not be refreshed. ${problem.title}. ${problem.detail}`);
    this.trouble.hidden = false;
    this.table.classList.add("stale");
  }

  private render(): void {
    const found = matchingSessions(this.sessions, this.filter.value);
    this.rows.show(found.slice(0, MAX_ROWS));
    this.table.hidden = found.length === 0;
    this.empty.hidden = found.length > 0;
    const open = this.sessions.filter((session) => session.closed_at === null).length;
    const cut = found.length > MAX_ROWS ? ` The first ${MAX_ROWS} are shown: filter to see others.` : "";
    setText(this.summary, `${open} open, ${found.length} listed.${cut}`);
  }

  private async end(session: Session): Promise<void> {
    const text = `${session.username} loses the shell, and what runs in it ends.`;
    if (!(await ask({ title: `End the session on ${session.device_id}?`, text, yes: "End it" }))) {
      return;
    }
    try {
      await this.api.endSession(session.id);
      announce("The session ends");
      this.poll.start();
    } catch (error) {
      const problem = error instanceof Problem ? error : noAnswer();
      await tell("The session was not ended", element("p", {}, `${problem.title}. ${problem.detail}`));
    }
  }
}
