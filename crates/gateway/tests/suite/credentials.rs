//! Where a token may be, and that there is exactly one.

use countersign_gateway::{CredentialError, CredentialSources, RequestFacts, Scheme};

fn select(
    sources: &CredentialSources,
    headers: &[(&str, &str)],
    query: &[(&str, &str)],
) -> Result<String, CredentialError> {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(n, v)| ((*n).to_owned().into(), (*v).to_owned().into())).collect()
    };
    let facts = RequestFacts { headers: pairs(headers), query: pairs(query), ..RequestFacts::default() };
    let found = sources.select(&facts)?;
    let scheme = if found.scheme == Scheme::Dpop { "DPoP " } else { "" };
    Ok(format!("{scheme}{}", found.token))
}

fn header(value: &str) -> Result<String, CredentialError> {
    select(&CredentialSources::default(), &[("Authorization", value)], &[])
}

fn with_cookie() -> CredentialSources {
    CredentialSources { cookie: Some("session".into()), ..CredentialSources::default() }
}

#[test]
fn the_header_and_its_scheme_are_taken_in_any_casing() {
    for value in ["Bearer t.o.k", "bearer t.o.k", "BEARER   t.o.k", " bEaReR\tt.o.k ", "t.o.k"] {
        assert_eq!(header(value).as_deref(), Ok("t.o.k"), "{value:?}");
    }
    for name in ["authorization", "AUTHORIZATION", "aUtHoRiZaTiOn"] {
        let found = select(&CredentialSources::default(), &[(name, "Bearer t")], &[]);
        assert_eq!(found.as_deref(), Ok("t"), "{name}");
    }
}

#[test]
fn a_header_without_exactly_one_token_is_refused() {
    for (value, why) in [
        ("", CredentialError::Malformed),
        ("Bearer", CredentialError::Malformed),
        ("Bearer ", CredentialError::Malformed),
        ("Bearer a b", CredentialError::Malformed),
        ("Bearer a,Bearer b", CredentialError::Ambiguous),
        ("Bearer a, Bearer a", CredentialError::Ambiguous),
        ("a,b", CredentialError::Ambiguous),
        ("Basic YTpi", CredentialError::OtherScheme),
        ("DPoP", CredentialError::Malformed),
        ("dpop ", CredentialError::Malformed),
        ("DPoP a b", CredentialError::Malformed),
        ("DPoP a,DPoP a", CredentialError::Ambiguous),
        ("DPoPx t.o.k", CredentialError::OtherScheme),
        ("AWS4-HMAC-SHA256 Credential=x", CredentialError::OtherScheme),
    ] {
        assert_eq!(header(value), Err(why), "{value:?}");
    }
    assert_eq!(select(&CredentialSources::default(), &[], &[]), Err(CredentialError::Missing));
}

#[test]
fn the_scheme_dpop_is_for_the_header_alone_and_told_from_bearer() {
    for value in ["DPoP t.o.k", "dpop t.o.k", "DPOP   t.o.k", " dPoP\tt.o.k "] {
        assert_eq!(header(value).as_deref(), Ok("DPoP t.o.k"), "{value:?}");
    }
    let sources = CredentialSources::default();
    let found = select(&sources, &[], &[("authorization", "DPoP t.o.k")]);
    assert_eq!(found, Err(CredentialError::OtherScheme));
    // One token in two ways is two credentials.
    let headers = [("Authorization", "DPoP t"), ("Authorization", "Bearer t")];
    assert_eq!(select(&sources, &headers, &[]), Err(CredentialError::Ambiguous));
    let found = select(&sources, &[("Authorization", "DPoP t")], &[("authorization", "t")]);
    assert_eq!(found, Err(CredentialError::Ambiguous));
}

#[test]
fn a_query_parameter_a_cookie_or_a_websocket_protocol_will_do() {
    let sources = with_cookie();
    assert_eq!(select(&sources, &[], &[("authorization", "t")]).as_deref(), Ok("t"));
    assert_eq!(select(&sources, &[], &[("authorization", "Bearer t")]).as_deref(), Ok("t"));
    assert_eq!(select(&sources, &[("Cookie", "a=b; session=t; c")], &[]).as_deref(), Ok("t"));
    assert_eq!(select(&sources, &[("cookie", "a=b"), ("cookie", "session=t")], &[]).as_deref(), Ok("t"));
    for value in ["bearer, t", "bearer,t", "mqtt, bearer , t", "bearer, t, mqtt"] {
        let found = select(&sources, &[("Sec-WebSocket-Protocol", value)], &[]);
        assert_eq!(found.as_deref(), Ok("t"), "{value}");
    }
    let in_two = [("sec-websocket-protocol", "bearer"), ("Sec-Websocket-Protocol", "t")];
    assert_eq!(select(&sources, &in_two, &[]).as_deref(), Ok("t"));
}

#[test]
fn sources_that_are_off_and_other_names_are_not_looked_at() {
    let off = CredentialSources {
        authorization: false,
        query: None,
        cookie: None,
        websocket_marker: None,
        load_balancer: false,
    };
    let headers =
        [("Authorization", "Bearer t"), ("Cookie", "session=t"), ("Sec-WebSocket-Protocol", "bearer, t")];
    assert_eq!(select(&off, &headers, &[("authorization", "t")]), Err(CredentialError::Missing));
    let on = with_cookie();
    for (name, value) in [
        ("Cookie", "xsession=t"),
        ("Cookie", "Session=t"),
        ("Sec-WebSocket-Protocol", "Bearer, t"),
        ("Sec-WebSocket-Protocol", "mqtt"),
        ("X-Authorization", "Bearer t"),
    ] {
        assert_eq!(select(&on, &[(name, value)], &[]), Err(CredentialError::Missing), "{name}: {value}");
    }
    assert_eq!(select(&on, &[], &[("Authorization", "t")]), Err(CredentialError::Missing));
}

#[test]
fn what_a_load_balancer_says_is_looked_at_where_that_is_on() {
    let said = ("X-Amzn-Oidc-Data", "a==.b=.c==");
    assert_eq!(select(&with_cookie(), &[said], &[]), Err(CredentialError::Missing));
    let on = CredentialSources { load_balancer: true, ..CredentialSources::default() };
    assert_eq!(select(&on, &[said], &[]).as_deref(), Ok("a==.b=.c=="));
    assert_eq!(select(&on, &[said, said], &[]).as_deref(), Ok("a==.b=.c=="));
    for other in
        [("x-amzn-oidc-data", "x"), ("Authorization", "Bearer x"), ("x-amzn-oidc-data", "a==.b=.c==, x")]
    {
        assert_eq!(select(&on, &[said, other], &[]), Err(CredentialError::Ambiguous), "{other:?}");
    }
    assert_eq!(select(&on, &[("x-amzn-oidc-data", "")], &[]), Err(CredentialError::Malformed));
}

#[test]
fn the_same_token_twice_is_one_and_two_different_ones_are_refused() {
    let sources = with_cookie();
    let all = |a: &str, b: &str, c: &str, d: &str| {
        let headers = [
            ("Authorization".to_owned(), format!("Bearer {a}")),
            ("Cookie".to_owned(), format!("session={b}")),
            ("Sec-WebSocket-Protocol".to_owned(), format!("bearer, {c}")),
        ];
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        select(&sources, &headers, &[("authorization", d)])
    };
    assert_eq!(all("t", "t", "t", "t").as_deref(), Ok("t"));
    for (a, b, c, d) in
        [("x", "t", "t", "t"), ("t", "x", "t", "t"), ("t", "t", "x", "t"), ("t", "t", "t", "x")]
    {
        assert_eq!(all(a, b, c, d), Err(CredentialError::Ambiguous), "{a} {b} {c} {d}");
    }
    for headers in [
        [("Authorization", "Bearer a"), ("authorization", "Bearer b")],
        [("Cookie", "session=a"), ("Cookie", "session=b")],
        [("Cookie", "session=a; session=b"), ("x", "y")],
        [("Sec-WebSocket-Protocol", "bearer, a, bearer, b"), ("x", "y")],
        // A service behind the gate may well take this one.
        [("Authorization", "Basic YTpi"), ("Cookie", "session=a")],
    ] {
        assert_eq!(select(&sources, &headers, &[]), Err(CredentialError::Ambiguous), "{headers:?}");
    }
    let twice = [("authorization", "a"), ("authorization", "b")];
    assert_eq!(select(&sources, &[], &twice), Err(CredentialError::Ambiguous));
}
