// The API's description, for people.

const make = (kind, text, ...children) => {
  const made = document.createElement(kind);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
};

const description = await (await fetch("/api/openapi.json")).json();
document.getElementById("about").textContent = description.info.description;
const place = document.getElementById("paths");
for (const [path, operations] of Object.entries(description.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    const section = make("section", "", make("h2", `${method.toUpperCase()} ${path}`), make("p", operation.summary));
    const schema = operation.requestBody?.content["application/json"].schema;
    if (schema) section.append(make("p", "Body:"), make("code", JSON.stringify(schema.properties)));
    const list = make("ul");
    for (const [status, answer] of Object.entries(operation.responses)) {
      const reference = answer.content?.["application/json"]?.schema.$ref?.split("/").pop() ?? "";
      list.append(make("li", "", make("span", `${status} ${answer.description}${reference ? `: ${reference}` : ""}`)));
    }
    section.append(list);
    place.append(section);
  }
}
