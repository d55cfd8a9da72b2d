//! Property tests of the body of `POST /sign`; the same property is the fuzz target `sign_body`.

#![expect(clippy::expect_used, reason = "tests say what they expect by failing")]

mod properties;

use proptest::prelude::*;

/// JSON values, with the numbers and strings that go wrong elsewhere.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f:e}")),
        "[0-9]{17,40}",
        any::<String>().prop_map(|s| serde_json::Value::from(s).to_string()),
        Just("\"\\ud83d\\ude00\"".to_owned()),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::btree_map("[a-zA-Z_]{1,8}", inner, 0..6).prop_map(|map| {
                let members: Vec<_> = map.into_iter().map(|(k, v)| format!("\"{k}\" : {v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..256)) {
        properties::sign_body(&body);
    }

    #[test]
    fn any_text_that_looks_like_a_body_is_read_or_refused(
        body in r#"[{]("(data|metadata|profile|client_id|x)"[:]([{][}]|"a"|1|[{]"(duration|audience)"[:](1|"a"|[\[]"a"[\]]|-1|1e9)[}])[,]?){0,4}[}]"#,
    ) {
        properties::sign_body(body.as_bytes());
    }

    #[test]
    fn claims_of_any_shape_are_kept(claims in prop::collection::btree_map("[a-zA-Z_]{1,8}", value(), 0..8)) {
        let members: Vec<_> = claims.into_iter().map(|(k, v)| format!("\"{k}\": {v}")).collect();
        let body = format!("{{\"data\": {{{}}}, \"metadata\": {{\"duration\": 60}}}}", members.join(", "));
        properties::sign_body(body.as_bytes());
    }
}
