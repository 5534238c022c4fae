import { FitAddon } from "@xterm/addon-fit";
import { Terminal, type ILinkHandler, type ITheme } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { ask } from "../page/dialog";
import type { Preferences } from "../page/preferences";
import type { Size } from "./ttyd";

const SCROLLBACK_LINES = 5_000;

/** Letters that nobody can read help nobody; below this size the screen is scrolled instead. */
const SMALLEST_FONT = 6;

/** What terminal.css keeps free around the letters, and the scroll bar. */
const PADDING = 36;

/** End what a shell that is gone may have left on: full screen, colours, mouse reports, bracketed paste. */
const LEAVE_FULL_SCREEN = "\x1b[?1049l";
const CLEAN_UP = "\x1b[0m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?25h\x1b[!p";

/** The xterm.js terminal with everything switched off that lets a device act on the browser. */
export class Screen {
  readonly terminal: Terminal;
  private readonly fitting = new FitAddon();

  constructor(preferences: Preferences) {
    this.terminal = new Terminal({
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--font-mono"),
      fontSize: preferences.fontSize,
      // Some fonts draw the underscore below a row of their own height, where it is cut off.
      lineHeight: 1.15,
      screenReaderMode: preferences.screenReader,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      scrollback: SCROLLBACK_LINES,
      minimumContrastRatio: 4.5,
      linkHandler: CAREFUL_LINKS,
      theme: THEME,
    });
    this.terminal.loadAddon(this.fitting);
    // OSC 52 writes the clipboard. No device writes a person's clipboard.
    this.terminal.parser.registerOscHandler(52, () => true);
  }

  get size(): Size {
    return { columns: this.terminal.cols, rows: this.terminal.rows };
  }

  mount(parent: HTMLElement): void {
    this.terminal.open(parent);
    this.fitting.fit();
  }

  /** Fits rows and columns to the room there is; a hidden terminal keeps its size. */
  fit(): void {
    if (this.terminal.element?.offsetParent != null) {
      this.fitting.fit();
    }
  }

  apply(preferences: Preferences): void {
    this.terminal.options.fontSize = preferences.fontSize;
    this.terminal.options.screenReaderMode = preferences.screenReader;
    this.fit();
  }

  /** Draws behind everything that was written before, as the three methods below do. */
  write(output: string | Uint8Array): void {
    this.terminal.write(output);
  }

  resize(columns: number, rows: number): void {
    this.terminal.write("", () => this.terminal.resize(Math.max(columns, 2), Math.max(rows, 1)));
  }

  /** An empty screen of that size. */
  clear(columns: number, rows: number): void {
    this.terminal.write("", () => this.terminal.reset());
    this.resize(columns, rows);
  }

  /** Makes letters as large as was asked for, or as the room allows for the size that the terminal has. */
  shrinkTo(room: HTMLElement, fontSize: number): void {
    const { terminal } = this;
    terminal.write("", () => {
      const drawn = terminal.element?.querySelector<HTMLElement>(".xterm-screen");
      const now = terminal.options.fontSize ?? fontSize;
      if (drawn == null || drawn.offsetWidth === 0 || room.clientWidth === 0) {
        return;
      }
      const [width, height] = [room.clientWidth - PADDING, room.clientHeight - PADDING];
      const ratio = Math.min(width / drawn.offsetWidth, height / drawn.offsetHeight);
      const fitting = Math.max(SMALLEST_FONT, Math.min(fontSize, Math.floor(now * ratio)));
      if (fitting !== now) {
        terminal.options.fontSize = fitting;
      }
    });
  }

  /** Says in the output itself that a part of it is gone. */
  sayLost(bytes: number): void {
    this.terminal.write(`\r\n\x1b[0;2m── ${bytes} bytes of output are gone ──\x1b[0m\r\n`);
  }

  /** Draws a line between the old shell's output and the new one's. */
  startNewShell(): void {
    const fullScreen = this.terminal.buffer.active.type === "alternate";
    this.terminal.write(`${fullScreen ? LEAVE_FULL_SCREEN : ""}${CLEAN_UP}\r\n\x1b[2m── new shell ──\x1b[0m\r\n`);
  }
}

/** A link's text says nothing about where it leads, so the address is shown before it is followed. */
const CAREFUL_LINKS: ILinkHandler = {
  activate: (_event, address) => void follow(address),
};

async function follow(address: string): Promise<void> {
  if (!/^https?:\/\//i.test(address) || !URL.canParse(address)) {
    return;
  }
  const { href } = new URL(address);
  if (await ask({ title: "Open this link?", text: "The device wrote it. It leads to:", preview: href, yes: "Open link" })) {
    window.open(href, "_blank", "noopener,noreferrer");
  }
}

const THEME: ITheme = {
  background: "#0d1116",
  foreground: "#dde3ea",
  cursor: "#5fd0b0",
  cursorAccent: "#0d1116",
  selectionBackground: "#2f5d6b",
  scrollbarSliderBackground: "#98a5b333",
  scrollbarSliderHoverBackground: "#98a5b366",
  scrollbarSliderActiveBackground: "#98a5b399",
  black: "#1c232b",
  red: "#f2777a",
  green: "#7bd88f",
  yellow: "#e6c07b",
  blue: "#6cb2f7",
  magenta: "#c79bf2",
  cyan: "#5fd0d0",
  white: "#dde3ea",
  brightBlack: "#7a8694",
  brightRed: "#ff9a9c",
  brightGreen: "#a3ecb2",
  brightYellow: "#f3d79b",
  brightBlue: "#9acbfb",
  brightMagenta: "#dcbcfa",
  brightCyan: "#92e6e6",
  brightWhite: "#ffffff",
};
