import { button, element } from "./dom";

export interface Tab {
  readonly id: string;
  readonly panel: HTMLElement;
  /** Called when the tab becomes the one that is seen. */
  shown(): void;
  /** Called when another one becomes it. */
  hidden?(): void;
  /** Missing for a tab that stays. */
  readonly closing?: () => void;
}

interface Handle {
  readonly tab: Tab;
  readonly button: HTMLButtonElement;
  readonly wrapper: HTMLElement;
}

/** The row of tabs, after the ARIA Authoring Practices: arrows move along it, Enter opens, Delete closes. */
export class Tabs {
  readonly element = element("div", { class: "tabs", role: "tablist", "aria-label": "Lists and terminals" });
  private readonly handles: Handle[] = [];
  private activeId = "";

  constructor(private readonly panels: HTMLElement) {
    this.element.addEventListener("keydown", (event) => this.onKey(event));
  }

  add(tab: Tab, label: string): void {
    const tabButton = button(label, { class: "tab", role: "tab", id: `tab-${tab.id}`, "aria-controls": `panel-${tab.id}` }, () => this.show(tab.id));
    const wrapper = element("div", { class: "tab-wrapper", role: "presentation" }, tabButton);
    if (tab.closing !== undefined) {
      const closing = tab.closing;
      wrapper.append(button("×", { class: "tab-close", "aria-label": `Close ${label}`, title: `Close ${label}`, tabindex: "-1" }, closing));
    }
    tab.panel.id = `panel-${tab.id}`;
    tab.panel.setAttribute("aria-labelledby", tabButton.id);
    tab.panel.hidden = true;
    this.handles.push({ tab, button: tabButton, wrapper });
    this.element.append(wrapper);
    this.panels.append(tab.panel);
  }

  has(id: string): boolean {
    return this.find(id) !== undefined;
  }

  show(id: string): void {
    if (this.activeId !== id) {
      this.find(this.activeId)?.tab.hidden?.();
    }
    this.activeId = id;
    for (const handle of this.handles) {
      const active = handle.tab.id === id;
      handle.tab.panel.hidden = !active;
      handle.wrapper.classList.toggle("active", active);
      handle.button.setAttribute("aria-selected", String(active));
      handle.button.tabIndex = active ? 0 : -1;
    }
    const shown = this.find(id);
    shown?.wrapper.scrollIntoView({ block: "nearest", inline: "nearest" });
    shown?.tab.shown();
  }

  /** The neighbour that is `step` tabs away, round the ends. */
  showNeighbour(step: 1 | -1): void {
    const index = this.handles.findIndex((handle) => handle.tab.id === this.activeId);
    const next = this.handles.at((index + step) % this.handles.length);
    if (next !== undefined) {
      this.show(next.tab.id);
    }
  }

  remove(id: string): void {
    const index = this.handles.findIndex((handle) => handle.tab.id === id);
    const [removed] = index < 0 ? [] : this.handles.splice(index, 1);
    removed?.wrapper.remove();
    if (this.activeId === id) {
      this.show(this.handles[index - 1]?.tab.id ?? "");
    }
  }

  focusActive(): void {
    this.find(this.activeId)?.button.focus();
  }

  describe(id: string, state: string, words: string): void {
    const handle = this.find(id);
    if (handle !== undefined) {
      handle.wrapper.dataset["state"] = state;
      handle.button.setAttribute("aria-label", words);
    }
  }

  private onKey(event: KeyboardEvent): void {
    const index = this.handles.findIndex((handle) => handle.button === document.activeElement);
    const handle = this.handles[index];
    if (handle === undefined) {
      return;
    }
    const target = this.target(event.key, index);
    if (target !== undefined) {
      event.preventDefault();
      target.button.focus();
    } else if (event.key === "Delete") {
      handle.tab.closing?.();
    }
  }

  private target(key: string, index: number): Handle | undefined {
    switch (key) {
      case "ArrowRight":
        return this.handles[(index + 1) % this.handles.length];
      case "ArrowLeft":
        return this.handles.at(index - 1);
      case "Home":
        return this.handles[0];
      case "End":
        return this.handles.at(-1);
      default:
        return undefined;
    }
  }

  private find(id: string): Handle | undefined {
    return this.handles.find((handle) => handle.tab.id === id);
  }
}
