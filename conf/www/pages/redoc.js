// /redoc: the whole description, to read.

import { badge, element, followHash, inline, pathCode, prose } from "./dom.js";
import { exampleText, examplesOf, loadDescription } from "./description.js";
import { schemaView, typeWords } from "./schema.js";
import { makeFilter } from "./filter.js";

function heading(level, id, ...children) {
  return element(`h${level}`, { id }, ...children,
    element("a", { class: "anchor", href: `#${id}`, "aria-label": "Link to this" }, "#"));
}

function code(text, label) {
  return element("pre", { tabindex: "0", "aria-label": label }, text);
}

function parametersView(description, operation) {
  if (operation.parameters.length === 0) return [];
  return [
    element("h4", {}, "Parameters"),
    element("dl", { class: "fields" }, ...operation.parameters.flatMap((parameter) => [
      element("dt", {},
        element("code", {}, parameter.name),
        element("span", { class: "type" }, ` in ${parameter.in}, ${typeWords(description, parameter.schema)}`),
        parameter.required ? element("span", { class: "required" }, " required") : null),
      element("dd", {}, ...inline(parameter.description),
        parameter.example === undefined ? null : element("p", { class: "example" }, "For example ", element("code", {}, exampleText(parameter.example)))),
    ])),
  ];
}

// One kind of body: its schema, and examples of it.
function mediaView(description, type, media) {
  return [
    element("p", { class: "media" }, element("code", {}, type)),
    media.schema === undefined ? null : schemaView(description, media.schema),
    ...examplesOf(media).map(([, summary, value]) => element("figure", {},
      element("figcaption", {}, summary), code(exampleText(value), `${summary}, ${type}`))),
  ];
}

function contentView(description, content = {}) {
  return Object.entries(content).flatMap(([type, media]) => mediaView(description, type, media));
}

function bodyView(description, operation) {
  if (operation.requestBody === undefined) return [];
  return [element("h4", {}, "Body"), ...contentView(description, operation.requestBody.content)];
}

function headersView(description, headers = {}) {
  const names = Object.keys(headers);
  if (names.length === 0) return [];
  return [element("dl", { class: "fields" }, ...names.flatMap((name) => {
    const header = description.resolve(headers[name]);
    return [
      element("dt", {}, element("code", {}, name), element("span", { class: "type" }, ` header, ${typeWords(description, header.schema)}`)),
      element("dd", {}, ...inline(header.description)),
    ];
  }))];
}

function responseView(description, status, response) {
  const kind = status.startsWith("2") ? "good" : status.startsWith("3") ? "" : "bad";
  return element("details", { class: "response" },
    element("summary", {}, element("strong", { class: `code ${kind}` }, status), " ", ...inline(response.description)),
    element("div", { class: "inside" },
      ...contentView(description, response.content),
      ...headersView(description, response.headers)));
}

function operationView(description, operation) {
  const id = operation.operationId;
  return element("section", { class: "operation", "aria-labelledby": id },
    heading(3, id, operation.summary),
    element("p", { class: "target" }, badge(operation.method), pathCode(operation.path),
      element("a", { href: `/docs#${id}` }, "Try it out")),
    ...prose(operation.description),
    ...parametersView(description, operation),
    ...bodyView(description, operation),
    element("h4", {}, "Answers"),
    ...Object.entries(operation.responses).map(([status, response]) =>
      responseView(description, status, description.resolve(response))));
}

function groupView(description, group) {
  const id = `group-${group.name}`;
  return element("section", { class: "group", "aria-labelledby": id },
    heading(2, id, group.name),
    ...prose(group.description),
    ...group.operations.map((operation) => operationView(description, operation)));
}

function schemasView(description) {
  return element("section", { class: "group", "aria-labelledby": "schemas" },
    heading(2, "schemas", "Schemas"),
    element("p", {}, "The parts that bodies are made of, by name."),
    ...description.schemas.map(([name, schema]) => element("section", { class: "operation", "aria-labelledby": `schema-${name}` },
      heading(3, `schema-${name}`, name),
      schemaView(description, schema))));
}

function contents(description) {
  const list = (title, links) => [
    element("h2", {}, title),
    element("ul", {}, ...links.map(([id, text]) => element("li", {}, element("a", { href: `#${id}` }, text)))),
  ];
  return [
    ...description.groups.flatMap((group) =>
      list(group.name, group.operations.map((operation) => [operation.operationId, operation.summary]))),
    ...list("Schemas", description.schemas.map(([name]) => [`schema-${name}`, name])),
  ];
}

function fill(description) {
  const main = document.getElementById("main");
  const side = document.getElementById("side");
  main.append(
    element("h1", {}, description.info.title, element("span", { class: "version" }, ` ${description.info.version}`)),
    element("p", { class: "lead" }, description.info.summary),
    ...prose(description.info.description),
    ...description.groups.map((group) => groupView(description, group)),
    schemasView(description));
  side.append(...contents(description));
  side.prepend(makeFilter(main, side));
  window.addEventListener("hashchange", followHash);
  followHash();
}

try {
  fill(await loadDescription());
} catch (error) {
  document.getElementById("main").append(
    element("p", { class: "notice", role: "alert" }, `The description cannot be read: ${error.message}`));
}
