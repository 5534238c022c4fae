import type { Api, Session } from "../api";
import { announce } from "../page/announce";
import { button, element, setText } from "../page/dom";
import type { Preferences } from "../page/preferences";
import { noAnswer, Problem } from "../problem";
import { attachPageKeys, type PageKeyActions } from "../terminal/page-keys";
import { Screen } from "../terminal/screen";
import { readCast, type Cast } from "./cast";
import { Player } from "./player";
import { CastText } from "./search";

const SPEEDS = [1, 2, 4, 8] as const;

/** A browser that slept has not been watching. */
const LONGEST_FRAME_SECONDS = 0.5;

/** A tab's content: a recording, with a slider, a speed and a search. */
export class PlaybackView {
  readonly element: HTMLElement;
  private readonly screen: Screen;
  private readonly room = element("div", { class: "screen shown-as-is" });
  private readonly state = element("p", { class: "muted", role: "status" }, "Loading the recording…");
  private readonly controls = element("div", { class: "player", hidden: "" });
  private readonly playButton = button("Play", { class: "button primary" }, () => this.playOrPause());
  private readonly slider = element("input", { type: "range", class: "position", min: "0", step: "0.1", value: "0", "aria-label": "Position in the recording" });
  private readonly clock = element("span", { class: "clock" });
  private readonly speed = element("select", { "aria-label": "Speed" }, ...SPEEDS.map((speed) => element("option", { value: String(speed) }, `${speed} ×`)));
  private readonly skipsPauses = element("input", { type: "checkbox", checked: "" });
  private readonly sought = element("input", { type: "search", class: "filter", placeholder: "Search in the output", "aria-label": "Search in the output", spellcheck: "false" });
  private player: Player | undefined;
  private cast: Cast | undefined;
  private text: CastText | undefined;
  private frame: number | undefined;
  private lastFrame = 0;

  constructor(
    private readonly session: Session,
    private readonly api: Pick<Api, "recording">,
    preferences: Preferences,
    private readonly onPageKey: PageKeyActions["press"],
  ) {
    this.screen = new Screen({ ...preferences, screenReader: false });
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    this.sought.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        this.search(event.shiftKey ? -1 : 1);
      }
    });
    this.controls.append(
      this.playButton,
      this.slider,
      this.clock,
      this.speed,
      element("label", { class: "choice" }, this.skipsPauses, " Skip pauses"),
      this.sought,
      button("Previous", { class: "button", "aria-label": "Previous place" }, () => this.search(-1)),
      button("Next", { class: "button", "aria-label": "Next place" }, () => this.search(1)),
    );
    const heading = element("h2", {}, `Recording of ${session.username} on ${session.device_id}`);
    this.element = element("section", { class: "terminal", role: "tabpanel" }, element("div", { class: "toolbar" }, heading, this.state), this.room, this.controls);
  }

  /** To be called once, when the element can be seen. */
  async start(): Promise<void> {
    this.screen.mount(this.room);
    this.screen.terminal.options.disableStdin = true;
    attachPageKeys(this.screen.terminal, { press: this.onPageKey, takesTab: () => false });
    this.screen.terminal.textarea?.setAttribute("aria-label", "Terminal of the recording");
    try {
      this.open(readCast(await this.api.recording(this.session.id)));
    } catch (error) {
      const problem = error instanceof Problem ? error : noAnswer();
      const words = error instanceof Error && !(error instanceof Problem) ? error.message : `${problem.title}. ${problem.detail}`;
      setText(this.state, words);
    }
  }

  focus(): void {
    this.playButton.focus();
  }

  close(): void {
    this.pause();
    this.screen.terminal.dispose();
    this.element.remove();
  }

  private open(cast: Cast): void {
    this.cast = cast;
    this.player = new Player(cast, this.screen);
    // The last step must not stop short of the last event.
    this.slider.max = String(Math.ceil(cast.seconds * 10) / 10);
    this.controls.hidden = false;
    setText(this.state, `Began ${new Date(cast.beganAt * 1000).toLocaleString()}`);
    this.showPosition();
    this.focus();
    this.play();
  }

  private playOrPause(): void {
    if (this.frame !== undefined) {
      this.pause();
      return;
    }
    if (this.player?.isAtEnd === true) {
      this.player.seek(0);
    }
    this.play();
  }

  private play(): void {
    this.lastFrame = performance.now();
    this.frame = requestAnimationFrame((now) => this.onFrame(now));
    setText(this.playButton, "Pause");
  }

  private pause(): void {
    if (this.frame !== undefined) {
      cancelAnimationFrame(this.frame);
      this.frame = undefined;
      setText(this.playButton, "Play");
    }
  }

  private onFrame(now: number): void {
    const { player } = this;
    if (player === undefined) {
      return;
    }
    const passed = Math.min(LONGEST_FRAME_SECONDS, Math.max(0, now - this.lastFrame) / 1000);
    this.lastFrame = now;
    player.advance(passed * Number(this.speed.value), this.skipsPauses.checked);
    this.showPosition();
    if (player.isAtEnd) {
      this.pause();
      announce("The recording is at its end");
    } else {
      this.frame = requestAnimationFrame((next) => this.onFrame(next));
    }
  }

  private seek(seconds: number): void {
    this.player?.seek(seconds);
    this.showPosition();
  }

  /** Goes to the next place, or the one before, round the ends. */
  private search(step: 1 | -1): void {
    if (this.cast === undefined || this.player === undefined) {
      return;
    }
    this.text ??= new CastText(this.cast);
    const moments = this.text.find(this.sought.value.trim());
    if (moments.length === 0) {
      setText(this.state, "Not found");
      return;
    }
    const { position } = this.player;
    const after = step === 1 ? moments.findIndex((moment) => moment > position) : moments.filter((moment) => moment < position).length - 1;
    const index = after >= 0 ? after : step === 1 ? 0 : moments.length - 1;
    this.pause();
    this.seek(moments[index] ?? 0);
    setText(this.state, `Place ${index + 1} of ${moments.length}, at ${clockWords(moments[index] ?? 0)}`);
  }

  private showPosition(): void {
    const words = `${clockWords(this.player?.position ?? 0)} of ${clockWords(this.cast?.seconds ?? 0)}`;
    setText(this.clock, words);
    this.slider.value = String(this.player?.position ?? 0);
    this.slider.setAttribute("aria-valuetext", words);
  }
}

/** `1:02:03`, or `2:03`. */
export function clockWords(seconds: number): string {
  const whole = Math.floor(seconds);
  const two = (part: number): string => String(part).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
