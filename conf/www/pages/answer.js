// What came back: status, headers, and the body as it comes, shown as text whatever it is.

import { element, foreign } from "./dom.js";
import { send } from "./request.js";

// More than that nobody reads here, and a browser would grow slow of it.
const CHARACTERS_MAX = 200000;

function isJson(type) {
  return /^application\/(.+\+)?json\b/.test(type);
}

export class Answer {
  constructor() {
    this.status = element("p", { class: "status", role: "status" });
    this.headers = element("dl", { class: "headers" });
    this.body = element("pre", { class: "body", tabindex: "0", "aria-label": "Body of the answer" });
    this.rest = element("div", { hidden: "" },
      element("details", {}, element("summary", {}, "Headers"), this.headers), this.body);
    this.element = element("section", { class: "answer", "aria-label": "Answer" }, this.status, this.rest);
  }

  refuse(text) {
    this.rest.hidden = true;
    this.status.className = "status bad";
    this.status.replaceChildren(text);
  }

  async show(request, abort) {
    this.rest.hidden = true;
    this.status.className = "status";
    this.status.replaceChildren("Waiting for the answer ...");
    const began = performance.now();
    try {
      const response = await send(request, abort.signal);
      const took = Math.round(performance.now() - began);
      this.#showHead(response, took);
      await this.#showBody(response, abort);
    } catch (error) {
      if (abort.signal.aborted) this.status.append(" Stopped.");
      else this.refuse(`No answer, or none to its end: ${error.message}`);
    }
  }

  #showHead(response, took) {
    this.status.className = response.ok ? "status good" : "status bad";
    this.status.replaceChildren(
      element("strong", {}, `${response.status}`), ` ${response.statusText} after ${took} ms.`);
    this.headers.replaceChildren(...[...response.headers].flatMap(([name, value]) =>
      [element("dt", {}, name), element("dd", {}, ...foreign(value))]));
    this.body.replaceChildren();
    this.rest.hidden = false;
  }

  // Of what has no end the newest part is kept, of anything else the first.
  async #showBody(response, abort) {
    const type = response.headers.get("Content-Type") ?? "";
    const endless = type.startsWith("text/event-stream");
    let text = "";
    for await (const piece of pieces(response)) {
      text = (text + piece).slice(endless ? -CHARACTERS_MAX : 0);
      this.body.append(element("span", {}, ...foreign(piece)));
      if (endless) this.#keepNewest();
      else if (text.length > CHARACTERS_MAX) {
        abort.abort();
        this.status.append(` Not all of it is shown: it is longer than ${CHARACTERS_MAX} characters.`);
        return;
      }
    }
    if (isJson(type)) this.body.replaceChildren(...foreign(indented(text)));
    if (text === "") this.body.replaceChildren(element("i", {}, "no body"));
  }

  #keepNewest() {
    while (this.body.textContent.length > CHARACTERS_MAX) this.body.firstChild.remove();
    this.body.scrollTop = this.body.scrollHeight;
  }
}

async function* pieces(response) {
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

// By hand, since a trip through numbers of JavaScript would change large ones.
function indented(json) {
  const tokens = json.match(/"(?:[^"\\]|\\.)*"?|[{}[\],:]|[^\s"{}[\],:]+/gs) ?? [];
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  return tokens.map((token, index) => {
    if (token === "{" || token === "[") {
      depth += 1;
      return "}]".includes(tokens[index + 1]) ? token : token + line();
    }
    if (token === "}" || token === "]") {
      depth -= 1;
      return "{[".includes(tokens[index - 1]) ? token : line() + token;
    }
    if (token === ",") return token + line();
    return token === ":" ? ": " : token;
  }).join("");
}
