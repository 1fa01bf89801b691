// The form of an operation: its fields, the request they make, and the buttons.

import { element, inline } from "./dom.js";
import { exampleText, examplesOf } from "./description.js";
import { curlOf, makeRequest } from "./request.js";
import { Answer } from "./answer.js";

const CHARACTERS_OF_ID = /[^\w-]/g;

function select(id, values) {
  return element("select", { id }, ...values.map((value) =>
    element("option", { value }, value === "" ? "(not given)" : value)));
}

function labelled(input, label, about = [], required = false) {
  const hint = about.length === 0 ? null : element("p", { class: "hint", id: `${input.id}-about` }, ...about);
  if (hint !== null) input.setAttribute("aria-describedby", hint.id);
  if (required) input.setAttribute("aria-required", "true");
  return element("div", { class: "field" },
    element("label", { for: input.id }, label,
      required ? element("span", { class: "required" }, " required") : null),
    input, hint);
}

function parameterInput(description, parameter, id) {
  const schema = description.resolve(parameter.schema);
  if (schema.enum !== undefined) return select(id, ["", ...schema.enum]);
  return element("input", {
    id,
    type: "text",
    inputmode: schema.type === "integer" ? "numeric" : null,
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    placeholder: parameter.example === undefined ? null : `such as ${parameter.example}`,
  });
}

// Fields of the body; what they hold now is in the object returned.
function makeBody(content, id) {
  const types = Object.keys(content);
  const type = select(`${id}-type`, types);
  const text = element("textarea", { id: `${id}-body`, rows: "9", spellcheck: "false", autocapitalize: "none" });
  const examples = Object.entries(content).flatMap(([media, about]) =>
    examplesOf(about).map(([, summary, value]) => ({ media, label: `${summary} (${media})`, value })));
  const example = element("select", { id: `${id}-example` },
    ...examples.map(({ label }, index) => element("option", { value: index }, label)));
  const take = () => {
    const chosen = examples[example.value];
    type.value = chosen.media;
    text.value = exampleText(chosen.value);
  };
  example.addEventListener("change", take);
  take();
  return {
    fields: [labelled(example, "Start from"), labelled(type, "Content-Type"), labelled(text, "Body", [], true)],
    get value() {
      return { type: type.value, text: text.value };
    },
  };
}

// Which form of the answer to ask for, where there are several.
function acceptOf(operation, id) {
  const types = Object.keys(operation.responses["200"].content);
  return types.length > 1 ? select(`${id}-accept`, ["", ...types]) : null;
}

export function makeForm(description, operation) {
  const id = operation.operationId;
  const inputs = operation.parameters.map((parameter) => ({
    parameter,
    input: parameterInput(description, parameter, `${id}-${parameter.name.replace(CHARACTERS_OF_ID, "_")}`),
  }));
  const body = operation.requestBody === undefined ? null : makeBody(operation.requestBody.content, id);
  const accept = acceptOf(operation, id);
  const send = element("button", { type: "submit", class: "send" }, "Send");
  const stop = element("button", { type: "button", class: "stop", disabled: "" }, "Stop");
  const file = element("a", { class: "button", download: "" }, "Save as a file");
  const curl = element("pre", { class: "curl", tabindex: "0", "aria-label": "The same with curl" });
  const answer = new Answer();

  const request = () => makeRequest(operation, {
    parameters: inputs.map(({ parameter, input }) => ({ parameter, value: input.value })),
    body: body === null ? null : body.value,
    accept: accept === null ? "" : accept.value,
  });
  const show = () => {
    const made = request();
    curl.textContent = curlOf(made);
    file.setAttribute("href", made.target);
  };

  const optional = inputs.filter(({ parameter }) => !parameter.required);
  const field = ({ parameter, input }) =>
    labelled(input, parameter.name, inline(parameter.description), parameter.required);
  const form = element("form", { class: "form" },
    ...inputs.filter(({ parameter }) => parameter.required).map(field),
    ...(body === null ? [] : body.fields),
    optional.length === 0 ? null : element("fieldset", {},
      element("legend", {}, body === null ? "Parameters" : "Headers"),
      element("div", { class: "grid" }, ...optional.map(field),
        accept === null ? null : labelled(accept, "Accept", ["Which form the answer is to have."]))),
    element("div", { class: "buttons" }, send, stop, operation.method === "get" ? file : null),
    element("details", { class: "same" }, element("summary", {}, "The same with curl"), curl),
    answer.element);
  form.addEventListener("input", show);
  form.addEventListener("change", show);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const missing = inputs.find(({ parameter, input }) => parameter.required && input.value === "");
    if (missing !== undefined) {
      missing.input.focus();
      answer.refuse(`${missing.parameter.name} is required.`);
      return;
    }
    const abort = new AbortController();
    const onStop = () => abort.abort();
    send.disabled = true;
    stop.disabled = false;
    stop.addEventListener("click", onStop);
    await answer.show(request(), abort);
    stop.removeEventListener("click", onStop);
    const stopped = document.activeElement === stop;
    send.disabled = false;
    stop.disabled = true;
    // A button that is disabled loses the focus, and whoever goes by keyboard the place.
    if (stopped || document.activeElement === document.body) send.focus();
  });
  show();
  return form;
}
