"""The routes as one page of HTML, made from OpenAPI; no script, and nothing from another host."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment

from rectitude.reporting.tokens import css_variables

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ info.title }} {{ info.version }}: routes</title>
<style>{{ tokens }}
body { margin: 0 auto; max-width: 68rem; padding: 24px; font: 15px/1.5 system-ui, sans-serif;
  background: var(--paper); color: var(--ink); }
h1 { font-size: 30px; } h2 { font-size: 23px; margin-top: 40px; } h3 { font-size: 15px; margin: 24px 0 4px; }
code, h3 { font-family: ui-monospace, monospace; } a { color: var(--accent); }
p { max-width: 68ch; margin: 4px 0; } .method { display: inline-block; min-width: 4.5em; color: var(--accent); }
table { border-collapse: collapse; width: 100%; margin: 8px 0; } td, th { text-align: left; vertical-align: top;
  padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 600; } .muted { color: var(--muted); }
</style></head><body>
<h1>{{ info.title }} {{ info.version }}</h1>
<p>{{ info.description }} Where keys are used, send one as <code>Authorization: Bearer rk_…</code>.
For programs: <a href="/openapi.json">openapi.json</a>.</p>
{% for tag, routes in groups.items() %}<h2>{{ tag }}</h2>
{% for route in routes %}<section>
<h3 id="{{ route.id }}"><span class="method">{{ route.method }}</span> {{ route.path }}</h3>
<p>{{ route.description }}</p>
{% if route.rows %}<table><thead><tr><th scope="col">name</th><th scope="col">in</th><th scope="col">type</th>
<th scope="col">meaning</th></tr></thead><tbody>
{% for row in route.rows %}<tr><td><code>{{ row.name }}</code>{{ ' *' if row.required }}</td><td>{{ row.place }}</td>
<td>{{ row.type }}</td><td>{{ row.meaning }}</td></tr>
{% endfor %}</tbody></table>{% endif %}
<p class="muted">Answers: {{ route.answers | join(', ') }}</p></section>
{% endfor %}{% endfor %}</body></html>
"""


def reference_page(openapi: dict[str, Any]) -> str:
    """The page."""
    schemas = openapi["components"]["schemas"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            route = {
                "id": operation["operationId"],
                "method": method.upper(),
                "path": path,
                "description": operation.get("description", operation.get("summary", "")),
                "rows": [*_parameters(operation), *_fields(operation, schemas)],
                "answers": [f"{code} {told['description']}" for code, told in operation["responses"].items()],
            }
            groups.setdefault(operation.get("tags", ["others"])[0], []).append(route)
    page = Environment(autoescape=True).from_string(_PAGE)
    return page.render(info=openapi["info"], groups=groups, tokens=css_variables())


def _parameters(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": one["name"],
            "place": one["in"],
            "required": one.get("required", False),
            "type": _type(one.get("schema", {})),
            "meaning": one.get("description", ""),
        }
        for one in operation.get("parameters", ())
    ]


def _fields(operation: dict[str, Any], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    """Fields of a JSON body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = content.get("schema", {})
    name = schema.get("$ref", schema.get("anyOf", [{}])[0].get("$ref", "")).rpartition("/")[2]
    body = schemas.get(name, {})
    return [
        {
            "name": field,
            "place": "body",
            "required": field in body.get("required", ()),
            "type": _type(told),
            "meaning": told.get("description", ""),
        }
        for field, told in body.get("properties", {}).items()
    ]


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"] if one.get("type") != "null"))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))
