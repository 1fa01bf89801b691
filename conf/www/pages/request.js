// What a form asks: the target, the headers and the body; and the same as a line for a shell.

const COMPRESSED = { gzip: "gzip", "x-gzip": "gzip", deflate: "deflate" };

export function makeRequest(operation, { parameters, body, accept }) {
  let path = operation.path;
  const query = [];
  const headers = {};
  for (const { parameter, value } of parameters) {
    if (value === "") continue;
    const { name } = parameter;
    if (parameter.in === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (parameter.in === "query") query.push(`${name}=${encodeURIComponent(value)}`);
    else headers[name] = value;
  }
  if (accept !== "") headers.Accept = accept;
  if (body !== null) headers["Content-Type"] = body.type;
  return {
    method: operation.method.toUpperCase(),
    target: path + (query.length === 0 ? "" : `?${query.join("&")}`),
    headers,
    text: body === null ? null : body.text,
  };
}

async function compressed(text, coding) {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream(coding));
  return new Response(stream).arrayBuffer();
}

export async function send({ method, target, headers, text }, signal) {
  const coding = COMPRESSED[headers["Content-Encoding"]];
  const body = text !== null && coding !== undefined ? await compressed(text, coding) : text;
  return fetch(target, { method, headers, body, signal, cache: "no-store" });
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function curlOf({ method, target, headers, text }) {
  const coding = COMPRESSED[headers["Content-Encoding"]];
  const words = ["curl", "-i"];
  if (method !== "GET") words.push("-X", method);
  for (const [name, value] of Object.entries(headers)) words.push("-H", quoted(`${name}: ${value}`));
  if (text !== null) words.push("--data-binary", coding === undefined ? quoted(text) : "@-");
  words.push(quoted(location.origin + target));
  const command = words.join(" ");
  if (text === null || coding === undefined) return command;
  const filter = coding === "gzip" ? "gzip" : "pigz -z";
  return `printf %s ${quoted(text)} | ${filter} | ${command}`;
}
