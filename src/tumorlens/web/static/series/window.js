// Window and level: the darkest and the brightest value that are told apart.

export class WindowControls {
  constructor(facts, state) {
    this.facts = facts;
    this.state = state;
    this.level = document.querySelector("#level");
    this.width = document.querySelector("#width");
    this.marks = document.querySelectorAll(".mark-window");
    this.presets = [...document.querySelectorAll("[data-window]")];
    // A window that the file stores may reach beyond what its voxels do.
    const known = [facts.range, facts.auto, facts.stored ?? facts.auto];
    this.least = Math.min(...known.map(([low]) => low));
    this.most = Math.max(...known.map(([, high]) => high));
    this.full = Math.max(1, this.most - this.least);
    this.level.min = this.least;
    this.level.max = this.most;
    this.width.min = this.full / 1024;
    this.width.max = this.full;
    const fromSliders = () =>
      this.set(Number(this.level.value), Number(this.width.value));
    this.level.addEventListener("input", fromSliders);
    this.width.addEventListener("input", fromSliders);
    for (const button of this.presets) {
      button.addEventListener("click", () => this.show(facts[button.dataset.window]));
    }
    this.show(facts.stored ?? facts.auto);
  }

  show([low, high]) {
    this.set((low + high) / 2, high - low);
  }

  set(level, width) {
    const wide = Math.min(this.full, Math.max(Number(this.width.min), width));
    const middle = Math.min(this.most, Math.max(this.least, level));
    this.state.low = middle - wide / 2;
    this.state.high = middle + wide / 2;
    this.level.value = middle;
    this.width.value = wide;
    const shown = this.say(this.level, middle * this.facts.slope + this.facts.offset);
    const span = this.say(this.width, wide * this.facts.slope);
    for (const mark of this.marks) mark.textContent = `L ${shown} W ${span}`;
    for (const button of this.presets) {
      button.setAttribute("aria-pressed", this.is(this.facts[button.dataset.window]));
    }
    this.state.changed();
  }

  is([low, high]) {
    const near = this.full * 1e-6;
    return Math.abs(low - this.state.low) < near && Math.abs(high - this.state.high) < near;
  }

  // To the right wider, downwards darker, as film readers are used to.
  drag({ low, high }, dx, dy, size) {
    const scale = this.full / Math.max(200, size);
    this.set((low + high) / 2 + dy * scale, high - low + dx * scale);
  }

  say(slider, value) {
    const digits = this.full * this.facts.slope >= 20 ? 0 : 3;
    const text = value.toFixed(digits);
    slider.setAttribute("aria-valuetext", text);
    document.querySelector(`#${slider.id}-value`).textContent = text;
    return text;
  }
}
