import type { Session, User } from "../api";
import { button, element, setText } from "../page/dom";
import { beganWords, rightsTo, stateWords } from "./wording";

export interface SessionActions {
  watch(session: Session): void;
  play(session: Session): void;
  end(session: Session): void;
}

/** One session in the list. Updated in place, so that focus and selection survive a refresh. */
export class SessionRow {
  readonly element: HTMLTableRowElement;
  private readonly person = element("td");
  private readonly began = element("span");
  private readonly from = element("span", { class: "device-id" });
  private readonly state = element("td");
  private readonly watch: HTMLButtonElement;
  private readonly play: HTMLButtonElement;
  private readonly end: HTMLButtonElement;

  constructor(
    private session: Session,
    user: User,
    actions: SessionActions,
  ) {
    const whose = `${session.username} on ${session.device_id}`;
    this.watch = button("Watch", { class: "button", "aria-label": `Watch the session of ${whose}` }, () => actions.watch(this.session));
    this.play = button("Play", { class: "button", "aria-label": `Play the recording of ${whose}` }, () => actions.play(this.session));
    this.end = button("End", { class: "button", "aria-label": `End the session of ${whose}` }, () => actions.end(this.session));
    this.element = element(
      "tr",
      { "data-session": session.id },
      element("th", { scope: "row" }, session.device_id),
      this.person,
      element("td", { class: "optional" }, this.began, this.from),
      this.state,
      element("td", { class: "action" }, this.watch, this.play, this.end),
    );
    this.update(session, user);
  }

  update(session: Session, user: User): void {
    this.session = session;
    const rights = rightsTo(session, user);
    setText(this.person, session.username);
    setText(this.began, beganWords(session, Date.now()));
    setText(this.from, `from ${session.client_address}`);
    setText(this.state, stateWords(session));
    this.watch.hidden = !rights.watch;
    this.play.hidden = !rights.play;
    this.end.hidden = !rights.end;
  }
}
