// The curve of probability: a click or a drag goes to the slice under it.

export function steerCurve(view, state, describe) {
  const frame = document.querySelector("#curve");
  const now = document.querySelector("#curve-now");
  const slider = document.querySelector("#slice");
  const readout = document.querySelector("#readout");

  function jump(event) {
    const box = frame.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    state.goTo(view, Math.floor(share * view.count));
  }

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    frame.setPointerCapture(event.pointerId);
    event.preventDefault();
    jump(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (frame.hasPointerCapture(event.pointerId)) jump(event);
  });
  slider.addEventListener("input", () => state.goTo(view, Number(slider.value) - 1));

  let told = null;
  state.listen(() => {
    const [slice] = view.fromBlock(state.position);
    if (slice === told) return;
    told = slice;
    now.style.transform = `translateX(${(100 * (slice + 0.5)) / view.count}%)`;
    slider.value = slice + 1;
    const text = describe(view, slice);
    slider.setAttribute("aria-valuetext", text);
    readout.textContent = text;
    for (const key of document.querySelectorAll(".key")) {
      key.setAttribute("aria-pressed", Number(key.dataset.slice) === slice);
    }
  });
  for (const key of document.querySelectorAll(".key")) {
    key.addEventListener("click", () => state.goTo(view, Number(key.dataset.slice)));
  }
}
