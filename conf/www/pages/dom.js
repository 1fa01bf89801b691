// Makes elements. Text gets into a page by textContent alone, so nothing that a log, or the
// description, holds can become markup.

// What would be invisible, or change how the text around it is shown: controls but line breaks and
// tabs, marks of direction, and characters without width.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/u;
const PIECES = new RegExp(`(${UNSEEN.source})`, "u");

// element("a", {href: "/docs"}, "Try it out"): attributes of null are left out.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// Text of others, with marks in place of what would not be seen.
export function foreign(text) {
  return text.replaceAll("\r\n", "\n").split(PIECES).filter((piece) => piece !== "").map((piece) => {
    if (!UNSEEN.test(piece)) return piece;
    const code = piece.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    return element("span", { class: "unseen", title: "a character that is not shown" }, `U+${code}`);
  });
}

// The little Markdown that descriptions have: paragraphs, `code` and **emphasis**.
export function prose(text = "") {
  return text.split("\n\n").filter(Boolean).map((paragraph) => element("p", {}, ...inline(paragraph)));
}

export function inline(text = "") {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).filter(Boolean).map((piece) => {
    if (piece.startsWith("`")) return element("code", {}, piece.slice(1, -1));
    if (piece.startsWith("**")) return element("strong", {}, piece.slice(2, -2));
    return piece;
  });
}

export function badge(method) {
  return element("span", { class: `method ${method}` }, method.toUpperCase());
}

// A path may break behind each of its slashes.
export function pathCode(path) {
  const parts = path.split(/(?<=\/)/).flatMap((part) => [part, element("wbr")]);
  return element("code", { class: "path" }, ...parts);
}

// A link to what is made only now cannot have been followed when the page was loaded.
export function followHash() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target === null) return;
  const details = target.closest("details");
  if (details !== null) details.open = true;
  target.scrollIntoView();
}
