// /openapi.json, read and made easy to walk through.

export async function loadDescription() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`/openapi.json: ${answer.status}`);
  return new Description(await answer.json());
}

export class Description {
  constructor(document) {
    this.document = document;
    this.info = document.info;
  }

  // What a $ref stands for; anything else as it is.
  resolve(value) {
    if (value === undefined || value.$ref === undefined) return value;
    const found = value.$ref.slice(2).split("/").reduce(
      (part, key) => part[key.replaceAll("~1", "/").replaceAll("~0", "~")], this.document);
    return this.resolve(found);
  }

  // [{name, description, operations: [{path, method, ...}]}], in the order of the document.
  get groups() {
    return this.document.tags.map((tag) => ({
      ...tag,
      operations: this.operations.filter((operation) => operation.tags.includes(tag.name)),
    }));
  }

  get operations() {
    return Object.entries(this.document.paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({
        ...operation,
        path,
        method,
        parameters: (operation.parameters ?? []).map((parameter) => this.resolve(parameter)),
      })));
  }

  get schemas() {
    return Object.entries(this.document.components.schemas);
  }
}

// [[name, summary, value]] of a media type, or of anything with examples like its.
export function examplesOf(media) {
  if (media.example !== undefined) return [["example", "Example", media.example]];
  return Object.entries(media.examples ?? {}).map(([name, one]) => [name, one.summary, one.value]);
}

export function exampleText(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
