//! Events as AWS documents them become the requests that were sent, and responses the replies that
//! each source takes. Whatever is in an event, there is an answer.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign_lambda::{Event, HttpEvent, Malformed, Source};
use http::{Request, Response, StatusCode, Version};
use proptest::prelude::*;
use serde_json::{Value, json};

const MAX_HEADER_BYTES: usize = 16 * 1024;
const ALL: [&str; 9] = [
    "rest",
    "rest-custom-domain",
    "http-v1",
    "http-v1-stage",
    "http-v2",
    "http-v2-stage",
    "function-url",
    "alb",
    "alb-multi-value",
];

fn event(name: &str) -> Value {
    let file = format!("{}/tests/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn http(event: &Value) -> HttpEvent {
    match Event::parse(&event.to_string()) {
        Ok(Event::Http(event)) => *event,
        other => panic!("{other:?}"),
    }
}

fn request(event: &Value) -> Result<Request<Bytes>, Malformed> {
    http(event).take_request(MAX_HEADER_BYTES)
}

fn values<'r>(request: &'r Request<Bytes>, name: &str) -> Vec<&'r str> {
    request.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn every_source_is_recognised_and_its_request_is_the_one_that_was_sent() {
    let one = |multi_value_headers| Source::LoadBalancer { multi_value_headers };
    let twice = "parameter1=value1&parameter1=value2&parameter2=value";
    for (name, source, method, uri, body) in [
        (
            "rest",
            Source::Rest,
            "POST",
            "/my/path?parameter1=value1&parameter1=a%20b%26c&parameter2=value",
            "Hello from Lambda!",
        ),
        ("rest-custom-domain", Source::Rest, "GET", "/my/path", ""),
        ("http-v1", Source::HttpV1, "GET", &format!("/my/path?{twice}"), "Hello from Lambda!"),
        ("http-v1-stage", Source::HttpV1, "GET", "/my/path", ""),
        ("http-v2", Source::HttpV2, "POST", &format!("/my/path?{twice}"), "Hello from Lambda!"),
        ("http-v2-stage", Source::HttpV2, "GET", "/my/path", ""),
        ("function-url", Source::FunctionUrl, "POST", &format!("/my/path?{twice}"), "Hello from client!"),
        ("alb", one(false), "GET", "/lambda?query=1234%20ABCD%26x", ""),
        ("alb-multi-value", one(true), "POST", "/lambda?myKey=val1&myKey=val2", "a=b&c=d"),
    ] {
        let event = event(name);
        assert_eq!(http(&event).source(), source, "{name}");
        let request = request(&event).unwrap();
        assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), (method, uri), "{name}");
        assert_eq!(request.body(), body, "{name}");
    }
}

#[test]
fn every_value_of_a_header_arrives_as_its_source_has_it() {
    let rest = request(&event("rest")).unwrap();
    assert_eq!(values(&rest, "header2"), ["value1", "value2"]);
    assert_eq!(values(&rest, "host"), ["id.execute-api.us-east-1.amazonaws.com"], "and none twice");
    let v2 = request(&event("http-v2")).unwrap();
    assert_eq!(values(&v2, "header2"), ["value1,value2"]);
    assert_eq!(values(&v2, "cookie"), ["cookie1; cookie2"]);
    let alb = request(&event("alb-multi-value")).unwrap();
    assert_eq!(values(&alb, "cookie"), ["name1=value1", "name2=value2"]);
    assert!(!request(&event("alb")).unwrap().headers().contains_key("connection"));
    // Where there is only one map, and where one has what the other has not.
    let mut event = event("rest");
    event["multiValueHeaders"] = Value::Null;
    assert_eq!(values(&request(&event).unwrap(), "header2"), ["value1,value2"]);
    event["multiValueHeaders"] = json!({ "HEADER1": ["x", "y"] });
    let both = request(&event).unwrap();
    assert_eq!((values(&both, "header1"), values(&both, "header2")), (vec!["x", "y"], vec!["value1,value2"]));
}

#[test]
fn the_address_of_the_caller_is_that_of_the_context_and_never_that_of_a_header() {
    for name in ALL {
        let mut event = event(name);
        let address = match name {
            "alb" | "alb-multi-value" => None,
            "function-url" => Some("203.0.113.7".parse().unwrap()),
            _ => Some("192.0.2.1".parse().unwrap()),
        };
        for header in ["x-forwarded-for", "X-Forwarded-For", "forwarded", "x-real-ip", "true-client-ip"] {
            event["headers"][header] = "10.9.8.7".into();
            if !event["multiValueHeaders"].is_null() {
                event["multiValueHeaders"][header] = json!(["10.9.8.7"]);
            }
            assert_eq!(http(&event).address(), address, "{name} {header}");
        }
        if name != "alb" && name != "alb-multi-value" {
            for none in [Value::Null, json!("nowhere"), json!("")] {
                let context = &mut event["requestContext"];
                let place =
                    if context["http"].is_object() { &mut context["http"] } else { &mut context["identity"] };
                place["sourceIp"] = none;
                assert_eq!(http(&event).address(), None, "{name}");
            }
        }
    }
}

#[test]
fn what_is_in_front_of_an_api_is_taken_off_once_and_nothing_that_a_caller_wrote() {
    let uri = |event: &Value| request(event).unwrap().uri().path().to_owned();
    for (name, path, seen) in [
        // Payload 2.0 has the stage on API Gateway's own domain.
        ("http-v2-stage", "/prod/sign", "/sign"),
        ("http-v2-stage", "/prod", "/"),
        ("http-v2-stage", "/prod/", "/"),
        ("http-v2-stage", "/prod/prod/sign", "/prod/sign"),
        ("http-v2-stage", "/production/sign", "/production/sign"),
        ("http-v2", "/prod/sign", "/prod/sign"),
        ("function-url", "/$default/sign", "/$default/sign"),
        ("http-v1-stage", "/prod/sign", "/sign"),
        ("alb", "/prod/sign", "/prod/sign"),
        ("alb", "", "/"),
        // Nothing is resolved: routes are compared with what was written.
        ("http-v2", "/a/../sign", "/a/../sign"),
        ("http-v2", "/%2e%2e/sign", "/%2e%2e/sign"),
        ("http-v2", "//sign", "//sign"),
    ] {
        let mut event = event(name);
        let member = if event["rawPath"].is_string() { "rawPath" } else { "path" };
        event[member] = path.into();
        assert_eq!(uri(&event), seen, "{name} {path}");
    }
    let mut custom = event("http-v2-stage");
    custom["requestContext"]["domainName"] = "api.example.com".into();
    assert_eq!(uri(&custom), "/prod/my/path", "a custom domain has no stage in the path");
    let mut rest = event("rest");
    rest["resource"] = "/other".into();
    rest["path"] = "/prod/sign".into();
    assert_eq!(uri(&rest), "/prod/sign", "that of a REST API has no stage in it, so a caller wrote this");
    // REST APIs: what is in front of the resource is the base path.
    for (resource, parameters, path, seen) in [
        ("/{proxy+}", json!({ "proxy": "sign" }), "/jwt-server/sign", "/sign"),
        ("/{proxy+}", json!({ "proxy": "prod/sign" }), "/prod/sign", "/prod/sign"),
        ("/{proxy+}", json!({ "proxy": "sign" }), "/sign", "/sign"),
        ("/sign", Value::Null, "/jwt-server/sign", "/sign"),
        ("/asap/{file}", json!({ "file": "a.pem" }), "/a/b/asap/a.pem", "/asap/a.pem"),
        ("/", Value::Null, "/jwt-server/", "/"),
        ("/{proxy+}", json!({}), "/jwt-server/sign", "/jwt-server/sign"),
        ("/{proxy+}", json!({}), "/jwt-server/sign/", "/jwt-server/sign/"),
        ("/{proxy+}", json!({ "proxy": "other" }), "/jwt-server/sign", "/jwt-server/sign"),
        ("/{proxy+}", Value::Null, "/jwt-server/sign", "/jwt-server/sign"),
    ] {
        let mut event = event("rest-custom-domain");
        event["resource"] = resource.into();
        event["pathParameters"] = parameters;
        event["path"] = path.into();
        assert_eq!(uri(&event), seen, "{resource} {path}");
    }
}

#[test]
fn what_is_no_request_has_a_status_and_no_host_is_hostile_enough_to_panic() {
    let refused = |change: &dyn Fn(&mut Value), name: &str| {
        let mut event = event(name);
        change(&mut event);
        request(&event).unwrap_err()
    };
    for name in ["rest", "http-v1", "alb"] {
        assert_eq!(refused(&|e| e["httpMethod"] = "G T".into(), name), Malformed::Method);
        assert_eq!(refused(&|e| e["path"] = "http://x/".into(), name), Malformed::Path);
        assert_eq!(
            refused(&|e| e["path"] = format!("/{}", "a".repeat(70_000)).into(), name),
            Malformed::PathTooLong
        );
    }
    for name in ALL {
        let multi = !event(name)["multiValueHeaders"].is_null();
        let set = |e: &mut Value, header: &str, value: &str| {
            if multi {
                e["multiValueHeaders"][header] = json!([value])
            } else {
                e["headers"][header] = value.into()
            }
        };
        assert_eq!(refused(&|e| set(e, "a b", "x"), name), Malformed::Header, "{name}");
        assert_eq!(refused(&|e| set(e, "a", "x\r\ny"), name), Malformed::Header, "{name}");
        assert_eq!(
            refused(&|e| set(e, "a", &"x".repeat(MAX_HEADER_BYTES)), name),
            Malformed::HeadersTooLarge
        );
        let many = |e: &mut Value| (0..101).for_each(|n| set(e, &format!("h{n}"), "x"));
        assert_eq!(refused(&many, name), Malformed::HeadersTooLarge, "{name}");
        assert_eq!(
            refused(&|e| (e["body"], e["isBase64Encoded"]) = ("no base64!".into(), true.into()), name),
            Malformed::Body
        );
        for host in ["a b", "a:99999999", "[bad", "", "a/b", "\u{e9}", "a@b", "//", "%", "\u{7}"] {
            let mut event = event(name);
            for host_name in ["host", "Host"] {
                for map in ["headers", "multiValueHeaders"] {
                    event[map].as_object_mut().map(|map| map.remove(host_name));
                }
            }
            set(&mut event, "host", host);
            match request(&event) {
                Ok(request) => assert_eq!(request.headers()["host"].as_bytes(), host.as_bytes(), "{name}"),
                Err(why) => assert_eq!((host, why), ("\u{7}", Malformed::Header), "{name}"),
            }
        }
    }
    for (why, status) in
        [(Malformed::Header, 400), (Malformed::PathTooLong, 414), (Malformed::HeadersTooLarge, 431)]
    {
        assert_eq!(why.status().as_u16(), status);
    }
}

#[test]
fn what_a_path_or_query_cannot_hold_is_encoded_and_the_rest_stays() {
    let mut event = event("rest-custom-domain");
    event["resource"] = "/x".into();
    event["path"] = "/a b/\u{e9}?#%2F\"".into();
    event["multiValueQueryStringParameters"] = json!({ "a=b": ["c&d", "100%", "\u{e9} +"] });
    let uri = request(&event).unwrap().uri().to_string();
    assert_eq!(uri, "/a%20b/%C3%A9%3F%23%2F%22?a%3Db=c%26d&a%3Db=100%25&a%3Db=%C3%A9%20%2B");
    let mut event = self::event("http-v2");
    event["rawQueryString"] = "a=%20b&c=\u{e9}#<".into();
    assert_eq!(request(&event).unwrap().uri().query(), Some("a=%20b&c=%C3%A9%23%3C"));
}

#[test]
fn a_request_without_a_host_is_not_one_of_http_1_1() {
    let mut event = event("http-v2-stage");
    assert_eq!(request(&event).unwrap().version(), Version::HTTP_11);
    event["headers"] = json!({});
    assert_eq!(request(&event).unwrap().version(), Version::HTTP_10);
}

fn response(body: &'static [u8]) -> Response<Bytes> {
    Response::builder()
        .status(401)
        .header("content-type", "application/jwt")
        .header("www-authenticate", "Basic realm=\"x\"")
        .header("vary", "a")
        .header("vary", "b")
        .header("set-cookie", "c=1; Secure")
        .header("set-cookie", "d=2")
        .header("content-length", "3")
        .header("connection", "close")
        .body(Bytes::from_static(body))
        .unwrap()
}

fn reply(name: &str, response: &Response<Bytes>) -> Value {
    serde_json::from_str(http(&event(name)).reply(response).unwrap().get()).unwrap()
}

#[test]
fn a_reply_has_the_form_of_its_source_member_by_member() {
    let lists = json!({
        "content-type": ["application/jwt"], "www-authenticate": ["Basic realm=\"x\""], "vary": ["a", "b"],
        "set-cookie": ["c=1; Secure", "d=2"],
    });
    let single = json!({
        "content-type": "application/jwt", "www-authenticate": "Basic realm=\"x\"", "vary": "a, b",
    });
    for name in ALL {
        let expected = match name {
            "http-v2" | "http-v2-stage" | "function-url" => json!({
                "statusCode": 401, "headers": single, "cookies": ["c=1; Secure", "d=2"], "body": "e30.",
                "isBase64Encoded": false,
            }),
            "alb" => {
                let mut headers = single.clone();
                headers["set-cookie"] = "c=1; Secure, d=2".into();
                json!({
                    "statusCode": 401, "statusDescription": "401 Unauthorized", "headers": headers, "body": "e30.",
                    "isBase64Encoded": false,
                })
            }
            "alb-multi-value" => json!({
                "statusCode": 401, "statusDescription": "401 Unauthorized", "multiValueHeaders": lists, "body": "e30.",
                "isBase64Encoded": false,
            }),
            _ => json!({
                "statusCode": 401, "multiValueHeaders": lists, "body": "e30.", "isBase64Encoded": false,
            }),
        };
        assert_eq!(reply(name, &response(b"e30.")), expected, "{name}");
        let binary = reply(name, &response(b"\xff\xfe"));
        assert_eq!(
            (&binary["body"], &binary["isBase64Encoded"]),
            (&json!(STANDARD.encode(b"\xff\xfe")), &json!(true))
        );
    }
    let strange = Response::builder().status(StatusCode::from_u16(599).unwrap()).body(Bytes::new()).unwrap();
    assert_eq!(reply("alb", &strange)["statusDescription"], "599");
}

#[test]
fn schedules_are_recognised_and_everything_else_is_unknown_by_name() {
    for name in ["schedule-rule", "schedule-scheduler"] {
        assert!(matches!(Event::parse(&event(name).to_string()), Ok(Event::Schedule)), "{name}");
    }
    let secret = "SECRET-value";
    for (event, says) in [
        (json!({}), "neither a requestContext nor the source of a schedule"),
        (json!({ "source": "serverless-plugin-warmup" }), "neither a requestContext"),
        (json!({ "source": "aws.ec2", "detail-type": "Scheduled Event" }), "neither a requestContext"),
        (json!({ "Records": [{ "eventSource": "aws:sqs", "body": secret }] }), "neither a requestContext"),
        (json!({ "type": "TOKEN", "authorizationToken": secret, "methodArn": "arn:…" }), "authorizer"),
        (
            json!({ "version": "2.0", "type": "REQUEST", "routeArn": "arn:…", "requestContext": {} }),
            "authorizer",
        ),
        (json!({ "requestContext": { "connectionId": "x", "eventType": "MESSAGE" } }), "WebSocket"),
        (json!({ "requestContext": {} }), "is of none of them"),
        (json!({ "version": "2.0", "requestContext": { "http": {} } }), "another shape"),
        (
            json!({ "version": "3.0", "httpMethod": "GET", "requestContext": { "httpMethod": "GET" } }),
            "neither 1.0 nor 2.0",
        ),
        (json!({ "headers": secret, "requestContext": { "elb": {} } }), "another shape"),
        (json!([secret]), "another shape"),
        (json!(secret), "another shape"),
        (Value::Null, "another shape"),
    ] {
        let why = Event::parse(&event.to_string()).unwrap_err().to_string();
        assert!(why.contains(says) && !why.contains(secret), "{event}: {why}");
    }
}

/// A place in an event, by the number of steps to it.
fn places(value: &Value) -> usize {
    1 + match value {
        Value::Object(members) => members.values().map(places).sum::<usize>(),
        Value::Array(items) => items.iter().map(places).sum(),
        _ => 0,
    }
}

fn put(value: &mut Value, place: &mut usize, new: &Value) {
    if *place == 0 {
        *value = new.clone();
    }
    *place = place.wrapping_sub(1);
    match value {
        Value::Object(members) => members.values_mut().for_each(|inner| put(inner, place, new)),
        Value::Array(items) => items.iter_mut().for_each(|inner| put(inner, place, new)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// Every place of every event with anything in it: a request, a refusal or an unknown event,
    /// and a reply to each request.
    #[test]
    fn whatever_is_in_an_event_there_is_an_answer(
        name in proptest::sample::select(&ALL[..]),
        places_and_values in proptest::collection::vec((any::<usize>(), prop_oneof![
            Just(Value::Null), Just(json!([])), Just(json!({})), Just(json!([null])), Just(json!({ "": [null, ""] })),
            any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from), "[ -~]{0,200}".prop_map(Value::from),
        ]), 1..4),
    ) {
        let mut event = event(name);
        for (place, value) in places_and_values {
            let mut place = place % places(&event);
            put(&mut event, &mut place, &value);
        }
        if let Ok(Event::Http(mut event)) = Event::parse(&event.to_string()) {
            let refused = event.take_request(MAX_HEADER_BYTES).err();
            prop_assert!(refused.is_none_or(|why| why.status().is_client_error()));
            prop_assert!(event.reply(&response(b"x")).is_some());
        }
    }

    #[test]
    fn whatever_an_event_is_there_is_an_answer(text in "\\PC{0,300}") {
        let _ = Event::parse(&text);
    }
}
