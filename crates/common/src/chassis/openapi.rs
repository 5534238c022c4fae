//! What a service can be asked, for machines and for people: `/openapi.json` (`OpenAPI` 3.1) and `/docs`, made from the
//! table in `docs/api.md`, which tests hold against the routes.

use axum::Router;
use axum::response::{Html, IntoResponse as _};
use axum::routing::get;
use serde_json::{Map, Value, json};

/// One row of the table for one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The method, in capitals.
    pub method: String,
    /// The path, parameters in braces, without a query.
    pub path: String,
    /// Who may call it.
    pub who: String,
    /// What it does.
    pub what: String,
    /// The parameters of the query that the table names, as `?name=`.
    pub query: Vec<String>,
}

/// Serves `/openapi.json` and `/docs` of a service; `document` is `docs/api.md`.
pub fn router(service: &str, version: &str, document: &str) -> Router {
    let operations = operations(service, document);
    let description = description(service, version, &operations).to_string();
    let page = page(service, &operations);
    Router::new()
        .route(
            "/openapi.json",
            get(move || async move { ([("content-type", "application/json")], description).into_response() }),
        )
        .route("/docs", get(move || async move { Html(page) }))
}

/// Reads the rows of a service: those of the first table below its heading.
pub fn operations(service: &str, document: &str) -> Vec<Operation> {
    let heading = format!("## {service}");
    let below = document.lines().skip_while(|line| *line != heading).skip(1);
    let section = below.take_while(|line| !line.starts_with("## "));
    let table = section.skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    rows.flat_map(row).collect()
}

/// One row may name several routes; a path without a method has the one before it.
fn row(line: &str) -> Vec<Operation> {
    let mut cells = line.trim_matches('|').splitn(3, " | ").map(str::trim);
    let (Some(routes), Some(who), Some(what)) = (cells.next(), cells.next(), cells.next()) else {
        return Vec::new();
    };
    let mut method = "GET";
    let mut operations = Vec::new();
    for route in routes.split('`').skip(1).step_by(2) {
        let (verb, path) = route.split_once(' ').unwrap_or((method, route));
        method = verb;
        operations.push(Operation {
            method: verb.to_owned(),
            path: path.split('?').next().unwrap_or(path).replace('…', "{path}"),
            who: who.to_owned(),
            what: what.replace('`', ""),
            query: query(path.split_once('?').map_or("", |(_path, query)| query), what),
        });
    }
    operations
}

/// The parameters of a route's own query, and those that stand as `` `?name=…` `` in what it does, each once.
fn query(own: &str, what: &str) -> Vec<String> {
    let pairs = own.split('&');
    let told = what
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.strip_prefix('?'));
    let mut names = Vec::new();
    for name in pairs
        .chain(told)
        .filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()))
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn description(service: &str, version: &str, operations: &[Operation]) -> Value {
    let mut paths = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path.clone()).or_insert_with(|| json!({}));
        path[operation.method.to_ascii_lowercase()] = json!({
            "summary": operation.what,
            "description": format!("Who may: {}.", operation.who),
            "parameters": parameters(operation),
            "security": security(&operation.who),
            "responses": {
                "2XX": { "description": "It is so." },
                "default": {
                    "description": "A refusal (RFC 9457).",
                    "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        });
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": service, "version": version },
        "paths": paths,
        "components": {
            "schemas": { "Problem": {
                "type": "object",
                "required": ["type", "title", "status", "instance"],
                "properties": {
                    "type": { "type": "string", "description": "urn:iot-bridge:problem:<slug>" },
                    "title": { "type": "string" },
                    "status": { "type": "integer" },
                    "detail": { "type": "string" },
                    "instance": { "type": "string", "description": "The id of the request." },
                },
            } },
            "securitySchemes": {
                "person": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                "enrollmentToken": { "type": "http", "scheme": "bearer" },
                "deviceCertificate": { "type": "mutualTLS" },
                "webhookSecret": { "type": "http", "scheme": "bearer" },
            },
        },
    })
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let of_path = operation
        .path
        .split('{')
        .skip(1)
        .filter_map(|part| part.split('}').next());
    let of_path = of_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }));
    let of_query = operation.query.iter();
    let of_query = of_query.map(|name| json!({ "name": name, "in": "query", "schema": text }));
    of_path.chain(of_query).collect()
}

fn security(who: &str) -> Vec<Value> {
    let scheme = match who {
        "anyone" => return Vec::new(),
        "token" => "enrollmentToken",
        who if who.contains("certificate") => "deviceCertificate",
        who if who.contains("secret") => "webhookSecret",
        _person => "person",
    };
    vec![json!({ scheme: [] })]
}

/// A page without script or style: it is read, and nothing on it can be attacked.
fn page(service: &str, operations: &[Operation]) -> String {
    let mut rows = String::new();
    for operation in operations {
        let cells = [&operation.method, &operation.path, &operation.who, &operation.what];
        let cells: String = cells
            .iter()
            .flat_map(|cell| ["<td>".to_owned(), escaped(cell), "</td>".to_owned()])
            .collect();
        rows.extend(["<tr>", &cells, "</tr>\n"]);
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{service}</title>\n<h1>{service}</h1>\n\
         <p>The same for machines: <a href=\"openapi.json\">openapi.json</a></p>\n\
         <table>\n<tr><th>method<th>path<th>who<th>what</tr>\n{rows}</table>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# API\n\n## a-service\n\nWords.\n\n| route | who | what |\n|---|---|---|\n\
        | `POST /things/{id}?x=1` | token | makes `one` <thing>, `?y=`, `?x=2` |\n| `GET /a`, `/b/…` | anyone | reads |\n\n\
        | other | table |\n\n## b-service\n| `GET /c` | admin | x |\n";

    #[test]
    fn a_row_is_an_operation_for_each_route_it_names() {
        let found = operations("a-service", DOCUMENT);

        let routes: Vec<_> = found.iter().map(|it| (it.method.as_str(), it.path.as_str())).collect();
        assert_eq!(routes, [("POST", "/things/{id}"), ("GET", "/a"), ("GET", "/b/{path}")]);
        assert_eq!(found[0].what, "makes one <thing>, ?y=, ?x=2");
        assert_eq!(found[0].query, ["x", "y"]);
        assert!(found[1].query.is_empty());
    }

    #[test]
    fn the_description_says_who_may_and_what_a_refusal_is() {
        let description = description("a-service", "1.2.3", &operations("a-service", DOCUMENT));

        let operation = &description["paths"]["/things/{id}"]["post"];
        assert_eq!(operation["security"], json!([{ "enrollmentToken": [] }]));
        let parameters = operation["parameters"].as_array().unwrap();
        let parameters: Vec<_> = parameters
            .iter()
            .map(|it| (it["name"].clone(), it["in"].clone()))
            .collect();
        let expected = [("id", "path"), ("x", "query"), ("y", "query")];
        assert_eq!(parameters, expected.map(|(name, place)| (name.into(), place.into())));
        assert!(operation["responses"]["default"]["content"]["application/problem+json"].is_object());
        assert_eq!(description["paths"]["/a"]["get"]["security"], json!([]));
    }

    #[test]
    fn nothing_of_the_table_is_markup_on_the_page() {
        assert!(page("a-service", &operations("a-service", DOCUMENT)).contains("&lt;thing&gt;"));
    }
}
