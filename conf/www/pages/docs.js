// /docs: a form for each operation.

import { badge, element, followHash, inline, pathCode, prose } from "./dom.js";
import { loadDescription } from "./description.js";
import { makeForm } from "./form.js";

function makeOperation(description, operation) {
  const details = element("details", { class: "operation", id: operation.operationId },
    element("summary", {},
      badge(operation.method), pathCode(operation.path),
      element("span", { class: "says" }, operation.summary)));
  // Made when it is opened for the first time: the page is there at once.
  details.addEventListener("toggle", () => {
    if (details.children.length > 1) return;
    details.append(element("div", { class: "inside" },
      ...prose(operation.description),
      element("p", {}, element("a", { href: `/redoc#${operation.operationId}` }, "All about it")),
      makeForm(description, operation)));
  });
  return details;
}

function fill(description) {
  const main = document.getElementById("main");
  const side = document.getElementById("side");
  main.append(
    element("h1", {}, "Try it out"),
    element("p", { class: "lead" }, "What you send from here goes to this server, and is real: a record that you post is stored."));
  for (const group of description.groups) {
    const id = `group-${group.name}`;
    main.append(element("section", { "aria-labelledby": id },
      element("h2", { id }, group.name),
      element("p", {}, ...inline(group.description)),
      ...group.operations.map((operation) => makeOperation(description, operation))));
    side.append(element("h2", {}, group.name), element("ul", {}, ...group.operations.map((operation) =>
      element("li", {}, element("a", { href: `#${operation.operationId}` }, operation.summary)))));
  }
  window.addEventListener("hashchange", followHash);
  followHash();
}

try {
  fill(await loadDescription());
} catch (error) {
  document.getElementById("main").append(
    element("p", { class: "notice", role: "alert" }, `The description cannot be read: ${error.message}`));
}
