// Window and level: the darkest and the brightest value that are told apart.

export class WindowControls {
  constructor(facts, state) {
    this.facts = facts;
    this.state = state;
    this.level = document.querySelector("#level");
    this.width = document.querySelector("#width");
    this.full = Math.max(1, facts.range[1] - facts.range[0]);
    this.level.min = facts.range[0];
    this.level.max = facts.range[1];
    this.width.min = Math.max(1, this.full / 256);
    this.width.max = this.full;
    const fromSliders = () =>
      this.set(Number(this.level.value), Number(this.width.value));
    this.level.addEventListener("input", fromSliders);
    this.width.addEventListener("input", fromSliders);
    document.querySelector("#window-reset").addEventListener("click", () => this.reset());
    this.reset();
  }

  reset() {
    const [low, high] = this.facts.window;
    this.set((low + high) / 2, high - low);
  }

  set(level, width) {
    const [least, most] = this.facts.range;
    const wide = Math.min(this.full, Math.max(Number(this.width.min), width));
    const middle = Math.min(most, Math.max(least, level));
    this.state.low = middle - wide / 2;
    this.state.high = middle + wide / 2;
    this.level.value = middle;
    this.width.value = wide;
    this.say(this.level, middle * this.facts.slope + this.facts.offset);
    this.say(this.width, wide * this.facts.slope);
    this.state.changed();
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
  }
}
