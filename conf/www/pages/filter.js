// Leaves of the reference only what has all words that are looked for.

import { element } from "./dom.js";

export function makeFilter(main, side) {
  const input = element("input", { id: "filter", type: "search", autocomplete: "off", spellcheck: "false",
    placeholder: "path, field or code" });
  const found = element("p", { class: "hint", role: "status" });
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const section of main.querySelectorAll("section.operation")) {
      const text = section.textContent.toLowerCase();
      section.hidden = !words.every((word) => text.includes(word));
      count += section.hidden ? 0 : 1;
      const id = section.getAttribute("aria-labelledby");
      side.querySelector(`a[href="#${id}"]`).parentElement.hidden = section.hidden;
    }
    for (const group of main.querySelectorAll("section.group")) {
      group.hidden = group.querySelector("section.operation:not([hidden])") === null;
    }
    found.textContent = words.length === 0 ? "" : `${count} found`;
  });
  return element("search", {}, element("label", { for: "filter" }, "Find"), input, found);
}
