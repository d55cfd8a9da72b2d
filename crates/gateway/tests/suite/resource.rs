//! Protected resource metadata (RFC 9728): where it is, what it says, and the challenges that name
//! it.

use crate::support::{ISSUER, NOW, OTHER_ISSUER, resolved, token};
use countersign_gateway::forward_auth::Answer;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

fn settings(resource: Value) -> Value {
    json!({
        "resource": resource,
        "proxies": [{ "kind": "nginx", "networks": ["127.0.0.1/32"] }],
        "routes": [
            { "path": "/public", "public": true },
            { "methods": ["GET"], "path": "/orders/**", "any_scope": ["read", "admin"], "all_scopes": ["orders"] },
            { "methods": ["POST"], "path": "/orders/**", "all_scopes": ["orders", "write"] },
        ],
    })
}

#[test]
fn the_document_is_at_the_name_of_the_resource_with_the_path_behind() {
    for (url, path) in [
        ("https://api.example", "/.well-known/oauth-protected-resource"),
        ("https://api.example/", "/.well-known/oauth-protected-resource"),
        ("https://api.example/v1", "/.well-known/oauth-protected-resource/v1"),
        ("https://api.example:8443/a/b/", "/.well-known/oauth-protected-resource/a/b/"),
    ] {
        let config = resolved(settings(json!({ "url": url }))).unwrap();
        let resource = config.resource().unwrap();
        let origin = &url[..url.find(".example").unwrap() + 8];
        let port = if url.contains(":8443") { ":8443" } else { "" };
        assert_eq!(resource.url(), format!("{origin}{port}{path}"));
        assert!(resource.is_at(path) && !resource.is_at(&format!("{path}x")), "{path}");
        let answer = resource.answer(&Method::GET);
        let document: Value = serde_json::from_str(answer.body()).unwrap();
        assert_eq!(document["resource"], url, "byte by byte");
    }
    let config = resolved(settings(json!({ "url": "https://api.example/v1" }))).unwrap();
    let resource = config.resource().unwrap();
    assert!(!resource.is_at("/.well-known/oauth-protected-resource"), "that is another resource's");
    assert!(resolved(json!({})).unwrap().resource().is_none());
}

#[test]
fn it_says_what_the_configuration_says_and_what_follows_from_the_rules() {
    let document = |settings: Value| -> Value {
        let config = resolved(settings).unwrap();
        serde_json::from_str(config.resource().unwrap().answer(&Method::GET).body()).unwrap()
    };
    let expected = json!({
        "resource": "https://api.example",
        "authorization_servers": [ISSUER, OTHER_ISSUER],
        "scopes_supported": ["admin", "orders", "read", "write"],
        "bearer_methods_supported": ["header"],
    });
    assert_eq!(document(settings(json!({ "url": "https://api.example" }))), expected);
    let own = json!({
        "url": "https://api.example", "authorization_servers": ["https://login.example"], "scopes": ["b", "a"],
        "name": "Orders \u{1f4e6}", "documentation": "https://api.example/docs",
    });
    let mut settings = settings(own);
    for route in settings["routes"].as_array_mut().unwrap().iter_mut().skip(1) {
        route["dpop"] = true.into();
    }
    settings["dpop"] = json!({ "public_urls": ["https://api.example"] });
    let found = document(settings);
    assert_eq!(found["authorization_servers"], json!(["https://login.example"]));
    assert_eq!(found["scopes_supported"], json!(["b", "a"]));
    assert_eq!(found["resource_name"], "Orders \u{1f4e6}");
    assert_eq!(found["resource_documentation"], "https://api.example/docs");
    assert_eq!(found["dpop_bound_access_tokens_required"], true);
    assert_eq!(found["dpop_signing_alg_values_supported"][0], "ES256");
}

#[test]
fn what_cannot_be_a_resource_does_not_start() {
    for url in [
        "",
        "api.example",
        "ftp://api.example",
        "https://api.example?a",
        "https://api.example#a",
        "https://u@api.example",
        "https://a\"b",
    ] {
        assert_eq!(resolved(settings(json!({ "url": url }))).unwrap_err().key, "gate.resource.url", "{url}");
    }
    let other = json!({ "url": "https://api.example", "authorization_servers": ["login"] });
    assert_eq!(resolved(settings(other)).unwrap_err().key, "gate.resource.authorization_servers");
    let other = json!({ "url": "https://api.example", "scopes": ["a b"] });
    assert_eq!(resolved(settings(other)).unwrap_err().key, "gate.resource.scopes");
}

#[test]
fn it_is_read_by_get_and_head_and_by_browsers() {
    let config = resolved(settings(json!({ "url": "https://api.example" }))).unwrap();
    let resource = config.resource().unwrap();
    for method in [Method::GET, Method::HEAD] {
        let answer = resource.answer(&method);
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        assert_eq!(answer.body().is_empty(), method == Method::HEAD);
    }
    for method in [Method::POST, Method::OPTIONS, Method::DELETE] {
        let answer = resource.answer(&method);
        assert_eq!(
            (answer.status(), &answer.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
        );
    }
}

async fn ask(method: &str, uri: &str, token: Option<&str>) -> Answer {
    let settings = settings(json!({ "url": "https://api.example/v1" }));
    let gate = resolved(settings).unwrap().into_forward_auth().unwrap();
    let mut request =
        Request::builder().uri("/gate").header("X-Original-Method", method).header("X-Original-URI", uri);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let parts = request.body(()).unwrap().into_parts().0;
    gate.answer(&parts, "", "127.0.0.1".parse().unwrap(), NOW).await
}

#[tokio::test]
async fn challenges_name_the_document_and_all_scopes_that_are_missing_at_once() {
    let metadata = "resource_metadata=\"https://api.example/.well-known/oauth-protected-resource/v1\"";
    let token = |scope: &str| token(json!({ "scope": scope }));
    for (method, given, status, challenge) in [
        ("GET", None, 401, format!("Bearer {metadata}")),
        ("GET", Some("x".to_owned()), 401, format!("Bearer error=\"invalid_token\", {metadata}")),
        (
            "GET",
            Some(token("")),
            403,
            format!("Bearer error=\"insufficient_scope\", scope=\"read admin orders\", {metadata}"),
        ),
        (
            "GET",
            Some(token("read")),
            403,
            format!("Bearer error=\"insufficient_scope\", scope=\"read orders\", {metadata}"),
        ),
        (
            "GET",
            Some(token("orders")),
            403,
            format!("Bearer error=\"insufficient_scope\", scope=\"read admin orders\", {metadata}"),
        ),
        (
            "POST",
            Some(token("orders")),
            403,
            format!("Bearer error=\"insufficient_scope\", scope=\"orders write\", {metadata}"),
        ),
    ] {
        let answer = ask(method, "/orders/7", given.as_deref()).await;
        let found = answer.response.headers().get("WWW-Authenticate").map(|value| value.to_str().unwrap());
        assert_eq!(
            (answer.response.status().as_u16(), found),
            (status, Some(&*challenge)),
            "{method} {given:?}"
        );
    }
}
