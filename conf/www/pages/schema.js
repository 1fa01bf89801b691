// A JSON Schema in words and lists. What has a name is linked to, once one is inside another.

import { element, inline, prose } from "./dom.js";

function nameOf(schema) {
  return schema.$ref === undefined ? null : schema.$ref.split("/").pop();
}

// Of a schema that is made of others, all of them in one.
function merged(description, schema) {
  const { $ref, allOf = [], ...own } = schema;
  const parts = [...($ref === undefined ? [] : [{ $ref }]), ...allOf]
    .map((part) => merged(description, description.resolve(part)));
  return [...parts, own].reduce((all, part) => ({
    ...all,
    ...part,
    required: [...(all.required ?? []), ...(part.required ?? [])],
    properties: { ...all.properties, ...part.properties },
  }), {});
}

const LIMITS = [
  ["minimum", "maximum", ""], ["minLength", "maxLength", " characters"], ["minItems", "maxItems", " items"],
];

// "1 to 50 characters"
function range(least, most, unit) {
  if (most === undefined) return `${least}${unit} or more`;
  return least === undefined ? `${most}${unit} at most` : `${least} to ${most}${unit}`;
}

export function typeWords(description, schema) {
  const whole = merged(description, schema);
  const values = whole.enum ?? (whole.const === undefined ? null : [whole.const]);
  const words = values !== null
    ? [values.map((value) => (value === "" ? '""' : String(value))).join(" | ")]
    : [[whole.type ?? (whole.oneOf ?? whole.anyOf ? "one of these" : "anything")].flat().join(" or ")];
  if (whole.format !== undefined) words.push(whole.format);
  for (const [least, most, unit] of LIMITS) {
    if (whole[least] === undefined && whole[most] === undefined) continue;
    words.push(range(whole[least], whole[most], unit));
  }
  if (whole.default !== undefined) words.push(`default ${JSON.stringify(whole.default)}`);
  return words.join(", ");
}

function link(name) {
  return element("a", { href: `#schema-${name}` }, name);
}

function isListOfValues(choices) {
  return choices.every((choice) => choice.const !== undefined);
}

function choicesView(description, choices) {
  if (isListOfValues(choices)) {
    return element("dl", { class: "values" }, ...choices.flatMap((choice) => [
      element("dt", {}, element("code", {}, choice.const)),
      element("dd", {}, ...inline(choice.description)),
    ]));
  }
  return element("ul", { class: "choices" }, ...choices.map((choice) => element("li", {}, partView(description, choice))));
}

// What is inside: fields, items, choices.
function insides(description, whole) {
  const choices = whole.oneOf ?? whole.anyOf;
  return [
    choices === undefined ? null : choicesView(description, choices),
    Object.keys(whole.properties ?? {}).length === 0 ? null : fieldsView(description, whole),
    whole.items === undefined ? null : element("div", { class: "items" }, "Each: ", partView(description, whole.items)),
    typeof whole.additionalProperties !== "object" ? null
      : element("div", { class: "items" }, "Each value: ", partView(description, whole.additionalProperties)),
  ];
}

function partView(description, schema) {
  const name = nameOf(schema);
  if (name !== null) return element("span", { class: "type" }, link(name), schema.description ? ` ${schema.description}` : "");
  return element("div", {}, element("span", { class: "type" }, typeWords(description, schema)), " ",
    ...inline(schema.description), ...insides(description, merged(description, schema)));
}

function fieldView(description, name, schema, required) {
  const refers = nameOf(schema);
  return [
    element("dt", {},
      element("code", {}, name),
      element("span", { class: "type" }, " ", refers === null ? typeWords(description, schema) : link(refers)),
      required ? element("span", { class: "required" }, " required") : null),
    element("dd", {}, ...inline(schema.description ?? description.resolve(schema).description),
      ...(refers === null ? insides(description, merged(description, schema)) : [])),
  ];
}

function fieldsView(description, whole) {
  return element("dl", { class: "fields" }, ...Object.entries(whole.properties).flatMap(([name, schema]) =>
    fieldView(description, name, schema, whole.required.includes(name))));
}

export function schemaView(description, schema) {
  const name = nameOf(schema);
  const whole = merged(description, schema);
  return element("div", { class: "schema" },
    element("p", { class: "type" }, name === null ? typeWords(description, schema) : link(name)),
    ...prose(whole.description),
    ...insides(description, whole));
}
