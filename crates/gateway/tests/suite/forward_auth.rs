//! Forward-auth: whose headers are believed, and what every answer holds.

use crate::support::{ISSUER, NOW, forged_token, resolved, token};
use countersign_gateway::forward_auth::{Answer, ForwardAuth};
use http::{HeaderName, HeaderValue, Request, StatusCode, request::Parts};
use serde_json::{Value, json};
use std::net::IpAddr;

fn gate() -> Value {
    json!({
        "proxies": [
            { "kind": "nginx", "networks": ["127.0.0.1/32"] },
            { "kind": "traefik", "networks": ["10.1.0.0/16"] },
            { "kind": "caddy", "networks": ["10.2.0.0/16", "fd00::/8"] },
            { "kind": "envoy", "networks": ["10.3.0.7"] },
            { "kind": "ingress-nginx", "networks": ["10.4.0.0/16"] },
        ],
        "routes": [
            { "path": "/public/**", "public": true },
            { "methods": ["GET"], "path": "/orders/**" },
            { "methods": ["POST"], "path": "/orders/**", "any_scope": ["write", "admin"] },
        ],
        "identity_headers": { "X-Auth-Subject": "sub", "X-Auth-Issuer": "iss", "X-Auth-Name": "name" },
    })
}

fn forward_auth() -> ForwardAuth {
    resolved(gate()).unwrap().into_forward_auth().unwrap()
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

async fn ask(from: &str, request: &Parts, rest: &str) -> Answer {
    forward_auth().answer(request, rest, from.parse::<IpAddr>().unwrap(), NOW).await
}

/// As nginx asks about `method` and `uri`, with these headers of the client besides.
async fn nginx(method: &str, uri: &str, token: Option<&str>, client: &[(&str, &str)]) -> Answer {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("X-Original-Method", method), ("X-Original-URI", uri)];
    headers.extend(authorization.as_deref().map(|value| ("Authorization", value)));
    headers.extend(client);
    ask("127.0.0.1", &parts("GET", "/gate", &headers), "").await
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.response.headers().get(name).map(|value| std::str::from_utf8(value.as_bytes()).unwrap())
}

#[tokio::test]
async fn the_scope_header_has_the_scopes_of_scp_too() {
    let mut gate = gate();
    gate["identity_headers"] = json!({ "X-Auth-Scope": "scope" });
    let gate = resolved(gate).unwrap().into_forward_auth().unwrap();
    for (claims, expected) in [
        (json!({ "scope": "a b" }), "a b"),
        (json!({ "scp": ["a", "b c", "d"] }), "a d"),
        (json!({ "scope": "a", "scp": "b" }), "a b"),
        (json!({}), ""),
    ] {
        let credential = format!("Bearer {}", token(claims.clone()));
        let original = [
            ("X-Original-Method", "GET"),
            ("X-Original-URI", "/orders/1"),
            ("Authorization", credential.as_str()),
        ];
        let asked = parts("GET", "/gate", &original);
        let answer = gate.answer(&asked, "", "127.0.0.1".parse().unwrap(), NOW).await;
        assert_eq!(header(&answer, "x-auth-scope"), Some(expected), "{claims}");
    }
}

#[tokio::test]
async fn each_kind_of_proxy_is_asked_in_its_own_way_and_no_other_is_believed() {
    let good = format!("Bearer {}", token(json!({})));
    let original = [("X-Original-Method", "GET"), ("X-Original-URI", "/orders/1?a=b")];
    let forwarded = [("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/orders/1?a=b")];
    for (from, headers, expected) in [
        ("127.0.0.1", original, "allow"),
        ("127.0.0.1", forwarded, "proxy_request_unclear"),
        ("::ffff:127.0.0.1", original, "allow"),
        ("10.1.2.3", forwarded, "allow"),
        ("10.1.2.3", original, "proxy_request_unclear"),
        ("10.2.2.3", forwarded, "allow"),
        ("fd00::1", forwarded, "allow"),
        ("10.3.0.8", forwarded, "proxy_unknown"),
        ("192.0.2.1", original, "proxy_unknown"),
    ] {
        let headers = [headers.as_slice(), &[("Authorization", good.as_str())]].concat();
        let answer = ask(from, &parts("GET", "/gate", &headers), "").await;
        assert_eq!(answer.code, expected, "{from} {headers:?}");
        assert_eq!(answer.response.status() == StatusCode::OK, expected == "allow");
    }
    let envoy = |method: &'static str, uri: &'static str| {
        let request = parts(method, uri, &[("Authorization", good.as_str())]);
        async move {
            ask("10.3.0.7", &request, uri.split('?').next().unwrap().strip_prefix("/gate").unwrap())
                .await
                .code
        }
    };
    assert_eq!(envoy("GET", "/gate/orders/1?a=b").await, "allow");
    assert_eq!(envoy("POST", "/gate/orders/1").await, "route_scope");
    assert_eq!(envoy("GET", "/gate").await, "path_not_absolute");
    assert_eq!(envoy("GET", "/gate/public/../orders").await, "path_dot_segment");
}

#[tokio::test]
async fn of_ingress_nginx_one_url_is_believed_whose_host_hides_nothing() {
    const UNCLEAR: &str = "proxy_request_unclear";
    let good = format!("Bearer {}", token(json!({})));
    let asked = async |more: &[(&str, &str)]| {
        let own = [("X-Original-Method", "GET"), ("X-Auth-Request-Redirect", "/x"), ("Authorization", &good)];
        ask("10.4.0.9", &parts("GET", "/gate", &[&own, more].concat()), "").await.code
    };
    for (url, expected) in [
        ("https://orders.example/orders/1?a=b", "allow"),
        ("http://[::1]:8080/orders/1", "allow"),
        ("http://my_service:80/orders/1", "allow"),
        ("https://orders.example/secret", "route_none"),
        ("https://orders.example/public/../orders/1", "path_dot_segment"),
        ("https://orders.example//orders/1", "path_empty_segment"),
        ("https://orders.example/public#/orders/1", "path_character"),
        // Of a host that could end early, nobody knows where the path begins.
        ("https://orders.example?/orders/1", UNCLEAR),
        ("https://orders.example#/orders/1", UNCLEAR),
        ("https://a@orders.example/orders/1", UNCLEAR),
        ("https://orders.example\\/orders/1", UNCLEAR),
        ("https://orders%2eexample/orders/1", UNCLEAR),
        ("https://a, b/orders/1", UNCLEAR),
        ("https:///orders/1", UNCLEAR),
        ("https://orders.example", UNCLEAR),
        ("https://orders.example*", UNCLEAR),
        ("HTTPS://orders.example/orders/1", UNCLEAR),
        ("ftp://orders.example/orders/1", UNCLEAR),
        ("/orders/1", UNCLEAR),
        ("", UNCLEAR),
    ] {
        assert_eq!(asked(&[("X-Original-URL", url)]).await, expected, "{url}");
    }
    let url = ("X-Original-URL", "https://orders.example/orders/1?a=b");
    let twice = [url, ("X-Original-URL", "https://orders.example/public/1")];
    assert_eq!(asked(&twice).await, UNCLEAR);
    // Set with `auth-method`, and the client's without: it has to agree.
    assert_eq!(asked(&[url, ("X-Original-URI", "/orders/1?a=b")]).await, "allow");
    assert_eq!(asked(&[("X-Original-URI", "/orders/1?a=b")]).await, UNCLEAR);
    for other in ["/orders/1", "/public/1", "", "https://orders.example/orders/1?a=b"] {
        assert_eq!(asked(&[url, ("X-Original-URI", other)]).await, UNCLEAR, "{other}");
    }
    let both = [url, ("X-Original-URI", "/orders/1?a=b"), ("X-Original-URI", "/orders/1?a=b")];
    assert_eq!(asked(&both).await, UNCLEAR);
}

#[tokio::test]
async fn a_spoofed_original_request_is_not_believed() {
    let good = token(json!({}));
    // The client's own headers of another kind of proxy.
    let client =
        [("X-Forwarded-Uri", "/public/x"), ("X-Forwarded-Method", "GET"), ("X-Rewrite-Url", "/public/x")];
    assert_eq!(nginx("POST", "/orders/1", Some(&good), &client).await.code, "route_scope");
    assert_eq!(nginx("GET", "/secret", None, &client).await.code, "credential_missing");
    // One of its own kind beside the proxy's.
    for name in ["X-Original-URI", "x-original-uri", "X-Original-Method"] {
        let answer = nginx("GET", "/secret", Some(&good), &[(name, "/public/x")]).await;
        assert_eq!(
            (answer.code, answer.response.status()),
            ("proxy_request_unclear", StatusCode::FORBIDDEN),
            "{name}"
        );
    }
    let nothing = ask("127.0.0.1", &parts("GET", "/gate", &[]), "").await;
    assert_eq!(nothing.code, "proxy_request_unclear");
}

#[tokio::test]
async fn letters_that_are_not_ascii_are_the_same_raw_and_encoded_and_bytes_that_are_none_have_a_reason() {
    let mut gate = gate();
    gate["routes"] = json!([{ "path": "/x/*", "public": true }, { "path": "/**" }]);
    let gate = resolved(gate).unwrap().into_forward_auth().unwrap();
    let asked = async |from: &str, uri: (&str, &[u8])| {
        let method = if from == "127.0.0.1" { "X-Original-Method" } else { "X-Forwarded-Method" };
        let mut asked = parts("GET", "/gate", &[(method, "GET")]);
        asked.headers.insert(HeaderName::try_from(uri.0).unwrap(), HeaderValue::from_bytes(uri.1).unwrap());
        gate.answer(&asked, "", from.parse().unwrap(), NOW).await
    };
    for (from, name) in [("127.0.0.1", "X-Original-URI"), ("10.1.2.3", "X-Forwarded-Uri")] {
        for path in ["/x/\u{e9}", "/x/%C3%A9", "/x/\u{e9}?n=\u{e4}"] {
            assert_eq!(asked(from, (name, path.as_bytes())).await.code, "allow", "{from} {path}");
        }
        assert_eq!(asked(from, (name, "/tee/\u{e9}".as_bytes())).await.code, "credential_missing");
        let latin1 = asked(from, (name, b"/x/\xe9")).await;
        assert_eq!((latin1.code, latin1.response.status()), ("proxy_request_unclear", StatusCode::FORBIDDEN));
    }
}

#[tokio::test]
async fn identity_headers_are_always_there_and_hold_what_was_signed_or_nothing() {
    let named = token(json!({ "name": "Jörg \"x\"" }));
    let spoof = [("X-Auth-Subject", "admin"), ("x-auth-name", "admin")];
    let answer = nginx("GET", "/orders/1", Some(&named), &spoof).await;
    assert_eq!(answer.response.status(), StatusCode::OK);
    assert_eq!(header(&answer, "x-auth-subject"), Some("alice"));
    assert_eq!(header(&answer, "x-auth-issuer"), Some(ISSUER));
    assert_eq!(header(&answer, "x-auth-name"), Some("Jörg \"x\""));
    for answer in [
        nginx("GET", "/public/x", None, &spoof).await,
        nginx("GET", "/public/x", Some(&forged_token()), &spoof).await,
    ] {
        assert_eq!(answer.response.status(), StatusCode::OK);
        for name in ["x-auth-subject", "x-auth-issuer", "x-auth-name"] {
            assert_eq!(header(&answer, name), Some(""), "{name}");
        }
    }
    let nameless = nginx("GET", "/orders/1", Some(&token(json!({}))), &spoof).await;
    assert_eq!(header(&nameless, "x-auth-name"), Some(""));
    let listed = nginx("GET", "/orders/1", Some(&token(json!({ "name": ["a", 1] }))), &[]).await;
    assert_eq!(header(&listed, "x-auth-name"), Some(r#"["a",1]"#));
}

#[tokio::test]
async fn an_identity_header_in_another_spelling_is_refused() {
    let good = token(json!({}));
    for name in [
        "X_Auth_Subject",
        "x-auth_subject",
        "X_AUTH_ISSUER",
        "x_auth-name",
        "X.Auth.Subject",
        "x~auth~subject",
        "X-Auth.Name",
    ] {
        let answer = nginx("GET", "/orders/1", Some(&good), &[(name, "admin")]).await;
        assert_eq!(
            (answer.code, answer.response.status()),
            ("identity_header_spoofed", StatusCode::FORBIDDEN),
            "{name}"
        );
        assert_eq!(nginx("GET", "/public/x", None, &[(name, "admin")]).await.code, "identity_header_spoofed");
    }
    assert_eq!(nginx("GET", "/orders/1", Some(&good), &[("x_auth_subjects", "a")]).await.code, "allow");
}

#[tokio::test]
async fn a_claim_that_a_header_would_change_is_not_put_into_one() {
    for name in ["a\r\nX-Auth-Subject: admin", "a\u{0}", " a", "a ", "a\nb", "\u{7f}"] {
        let answer = nginx("GET", "/orders/1", Some(&token(json!({ "name": name }))), &[]).await;
        assert_eq!(
            (answer.code, answer.response.status()),
            ("claim_unfit_for_header", StatusCode::FORBIDDEN),
            "{name:?}"
        );
        assert_eq!(header(&answer, "x-auth-subject"), None);
    }
}

#[tokio::test]
async fn refusals_say_the_standard_error_and_no_more() {
    let expired = token(json!({ "exp": NOW.unix_seconds() - 60 }));
    for (answer, status, challenge, body) in [
        (nginx("GET", "/orders/1", None, &[]).await, 401, Some("Bearer"), r#"{"error":"unauthorized"}"#),
        (
            nginx("GET", "/orders/1", Some(&expired), &[]).await,
            401,
            Some("Bearer error=\"invalid_token\""),
            r#"{"error":"invalid_token"}"#,
        ),
        (
            nginx("GET", "/orders/1", Some("x"), &[]).await,
            401,
            Some("Bearer error=\"invalid_token\""),
            r#"{"error":"invalid_token"}"#,
        ),
        (
            nginx("POST", "/orders/1", Some(&token(json!({}))), &[]).await,
            403,
            Some("Bearer error=\"insufficient_scope\", scope=\"write admin\""),
            r#"{"error":"insufficient_scope"}"#,
        ),
        (
            nginx("GET", "/other", Some(&token(json!({}))), &[]).await,
            403,
            None,
            r#"{"error":"access_denied"}"#,
        ),
        (
            nginx("GET", "/a//b", Some(&token(json!({}))), &[]).await,
            403,
            None,
            r#"{"error":"access_denied"}"#,
        ),
    ] {
        assert_eq!(answer.response.status().as_u16(), status);
        assert_eq!(header(&answer, "www-authenticate"), challenge);
        assert_eq!(answer.response.body(), body);
        assert_eq!(header(&answer, "cache-control"), Some("no-store"));
        assert_eq!(header(&answer, "x-auth-subject"), None);
    }
}

#[tokio::test]
async fn two_credentials_in_the_original_request_are_refused_wherever_they_are() {
    let (one, two) = (token(json!({})), token(json!({ "sub": "bob" })));
    let in_query = format!("/orders/1?authorization={two}");
    assert_eq!(nginx("GET", &in_query, Some(&one), &[]).await.code, "credential_ambiguous");
    assert_eq!(nginx("GET", &in_query, None, &[]).await.code, "allow");
    let same = format!("/orders/1?authorization={one}");
    assert_eq!(nginx("GET", &same, Some(&one), &[]).await.code, "allow");
    let second = format!("Bearer {two}");
    assert_eq!(
        nginx("GET", "/orders/1", Some(&one), &[("Authorization", &second)]).await.code,
        "credential_ambiguous"
    );
}

/// As nginx asks about `GET /orders/1` of a gate that also looks into the cookie `session`, with
/// headers of any bytes.
async fn nginx_with_cookies(headers: &[(&str, &[u8])]) -> &'static str {
    let mut settings = gate();
    settings["credentials"] = json!({ "cookie": "session" });
    let forward_auth = resolved(settings).unwrap().into_forward_auth().unwrap();
    let mut request = parts("GET", "/gate", &[("X-Original-Method", "GET"), ("X-Original-URI", "/orders/1")]);
    for (name, value) in headers {
        let name = HeaderName::try_from(*name).unwrap();
        request.headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    forward_auth.answer(&request, "", "127.0.0.1".parse().unwrap(), NOW).await.code
}

#[tokio::test]
async fn bytes_beyond_ascii_do_not_hide_a_second_credential() {
    let (one, two) = (format!("Bearer {}", token(json!({}))), token(json!({ "sub": "bob" })));
    for beside in [b"n\xc3\xa9".as_slice(), b"\xe9", b"\xff\xfe", b"\xc3"] {
        let cookie = [b"a=", beside, b"; session=", two.as_bytes(), b"; b=", beside].concat();
        let protocols = [beside, b", bearer, ", two.as_bytes(), b", ", beside].concat();
        let spoiled = [two.as_bytes(), beside].concat();
        for (name, value) in [
            ("cookie", cookie),
            ("sec-websocket-protocol", protocols),
            ("cookie", [b"session=", spoiled.as_slice()].concat()),
            ("authorization", [b"Bearer ", spoiled.as_slice()].concat()),
        ] {
            let code = nginx_with_cookies(&[("authorization", one.as_bytes()), (name, &value)]).await;
            assert_eq!(code, "credential_ambiguous", "{name} beside {beside:?}");
        }
    }
}

#[tokio::test]
async fn bytes_beyond_ascii_in_what_is_no_credential_do_no_harm() {
    let good = token(json!({}));
    for beside in [b"n\xc3\xa9".as_slice(), b"\xe9", b"\xff\xfe", b"\xc3"] {
        let cookie = [b"theme=", beside, b"; session=", good.as_bytes()].concat();
        let protocols = [beside, b", bearer, ", good.as_bytes()].concat();
        let bearer = format!("Bearer {good}");
        for headers in [
            [("cookie", cookie.as_slice()), ("x-name", beside)],
            [("sec-websocket-protocol", &protocols), ("referer", beside)],
            [("authorization", bearer.as_bytes()), ("cookie", beside)],
        ] {
            assert_eq!(nginx_with_cookies(&headers).await, "allow", "{headers:?}");
        }
    }
}
