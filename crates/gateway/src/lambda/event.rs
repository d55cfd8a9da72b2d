//! An authorizer event as API Gateway and AppSync send it: recognised by what is in it, and turned
//! into request facts.
//!
//! Shapes (API Gateway developer guide, "Input to a Lambda authorizer" and "Create an AWS Lambda
//! authorizer for HTTP APIs"; AppSync developer guide, "AWS_LAMBDA authorization"). Members that
//! are not needed are passed over, whatever they are; a member that is needed and has another type
//! makes the event one that nobody is let in by. Borrows the event's text.

use super::arn::MethodArn;
use crate::{dpop, facts::RequestFacts, path::Target};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt};

/// Which of the shapes an event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// REST API, authorizer of type TOKEN.
    RestToken,
    /// REST API, authorizer of type REQUEST.
    RestRequest,
    /// HTTP API, payload format 1.0.
    HttpV1,
    /// A request of a REST API or of an HTTP API with payload format 1.0, and nothing in it says
    /// which. Answered with a policy, which both take.
    Unversioned,
    /// HTTP API, payload format 2.0.
    HttpV2,
    /// WebSocket API, route `$connect`.
    WebSocket,
    /// AppSync, authorization type AWS_LAMBDA.
    AppSync,
}

impl Shape {
    /// The name in logs and explanations.
    pub fn name(self) -> &'static str {
        match self {
            Self::RestToken => "REST API, TOKEN",
            Self::RestRequest => "REST API, REQUEST",
            Self::HttpV1 => "HTTP API, payload 1.0",
            Self::Unversioned => "REST API, or HTTP API, payload 1.0",
            Self::HttpV2 => "HTTP API, payload 2.0",
            Self::WebSocket => "WebSocket API, $connect",
            Self::AppSync => "AppSync",
        }
    }
}

/// For which requests of a caller API Gateway remembers a yes or no, by the identity sources that
/// an event shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remembered<'e> {
    /// For those of one method and path.
    Request,
    /// For all of this route, which stands for several methods or paths.
    Route(&'e str),
    /// For all routes of the authorizer.
    Everything,
}

/// What an answer says: a policy for the caller, or yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Policy,
    Simple,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    #[serde(borrow, default)]
    r#type: Option<Text<'a>>,
    #[serde(borrow, default)]
    version: Option<Text<'a>>,
    #[serde(borrow, default)]
    method_arn: Option<Text<'a>>,
    #[serde(borrow, default)]
    route_arn: Option<Text<'a>>,
    #[serde(borrow, default)]
    authorization_token: Option<Text<'a>>,
    #[serde(borrow, default)]
    http_method: Option<Text<'a>>,
    #[serde(borrow, default)]
    route_key: Option<Text<'a>>,
    #[serde(borrow, default)]
    raw_path: Option<Text<'a>>,
    #[serde(borrow, default)]
    raw_query_string: Option<Text<'a>>,
    #[serde(borrow, default)]
    headers: Pairs<'a>,
    #[serde(borrow, default)]
    multi_value_headers: Pairs<'a>,
    #[serde(borrow, default)]
    query_string_parameters: Pairs<'a>,
    #[serde(borrow, default)]
    multi_value_query_string_parameters: Pairs<'a>,
    #[serde(borrow, default)]
    cookies: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    identity_source: Option<OneOrMany<'a>>,
    #[serde(borrow, default)]
    request_context: Option<Context<'a>>,
    #[serde(borrow, default)]
    request_headers: Pairs<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    #[serde(borrow, default)]
    event_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    stage: Option<Text<'a>>,
    #[serde(borrow, default)]
    domain_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    path: Option<Text<'a>>,
    #[serde(borrow, default)]
    request_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    query_string: Option<Text<'a>>,
    #[serde(borrow, default)]
    api_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    resource_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    http: Option<Http<'a>>,
}

#[derive(Deserialize)]
struct Http<'a> {
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
    #[serde(borrow, default)]
    path: Option<Text<'a>>,
}

impl<'a> Event<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(json).map_err(|_| "it is not UTF-8".to_owned())?;
        // What does not fit serde_json quotes whole, and it may be a token; what is not JSON it
        // never does.
        serde_json::from_str(text).map_err(|why| match why.classify() {
            serde_json::error::Category::Data => {
                format!("it is not of any known shape (line {}, column {})", why.line(), why.column())
            }
            _ => format!("it is not JSON ({why})"),
        })
    }

    /// Which shape it has; says why it has none.
    pub(super) fn shape(&self) -> Result<Shape, String> {
        let context = self.request_context.as_ref();
        let shape = match (text(&self.r#type), text(&self.version)) {
            (Some("TOKEN"), None) if self.method_arn.is_some() => Ok(Shape::RestToken),
            (Some("TOKEN"), _) => Err("type TOKEN without methodArn, or with a version"),
            (Some("REQUEST"), Some("2.0")) if self.route_arn.is_some() => Ok(Shape::HttpV2),
            (Some("REQUEST"), Some("1.0")) if self.method_arn.is_some() => Ok(Shape::HttpV1),
            (Some("REQUEST"), Some(_)) => Err("type REQUEST with an unknown version, or without its ARN"),
            (Some("REQUEST"), None) if self.method_arn.is_none() => Err("type REQUEST without methodArn"),
            (Some("REQUEST"), None) if context.is_some_and(|c| text(&c.event_type) == Some("CONNECT")) => {
                Ok(Shape::WebSocket)
            }
            (Some("REQUEST"), None) if self.http_method.is_none() => {
                Err("type REQUEST with neither httpMethod nor a CONNECT")
            }
            // Every resource of a REST API has an id.
            (Some("REQUEST"), None) if context.is_some_and(|c| c.resource_id.is_some()) => {
                Ok(Shape::RestRequest)
            }
            (Some("REQUEST"), None) => Ok(Shape::Unversioned),
            (Some(_), _) => Err("its type is neither TOKEN nor REQUEST"),
            (None, None)
                if self.authorization_token.is_some() && context.is_some_and(Context::is_appsync) =>
            {
                Ok(Shape::AppSync)
            }
            (None, _) => Err("it has no type, and is not AppSync's"),
        };
        shape.map_err(str::to_owned)
    }

    /// The ARN of what is asked for; none for AppSync, or if it is malformed.
    pub(super) fn arn(&self, shape: Shape) -> Option<MethodArn<'_>> {
        let text = match shape {
            Shape::HttpV2 => &self.route_arn,
            Shape::AppSync => return None,
            Shape::RestToken | Shape::RestRequest | Shape::HttpV1 | Shape::Unversioned | Shape::WebSocket => {
                &self.method_arn
            }
        };
        MethodArn::parse(text.as_ref().map(|t| t.0.as_ref())?)
    }

    /// The name under which AWS logs the request.
    pub(super) fn request_id(&self) -> Option<&str> {
        text(&self.request_context.as_ref()?.request_id)
    }

    /// For which requests the answer to this one is remembered. Only the values of the identity
    /// sources are in an event, so they are compared with what `$context.routeKey`,
    /// `$context.httpMethod` and `$context.path` are in it.
    pub(super) fn remembered(&self) -> Remembered<'_> {
        let is_source = |value: Option<&str>| {
            value.is_some_and(|value| self.identity_source.as_ref().is_some_and(|sources| sources.has(value)))
        };
        let http = self.request_context.as_ref().and_then(|context| context.http.as_ref());
        let route = text(&self.route_key).filter(|route| is_source(Some(route)));
        // `GET /orders/{id}`, `ANY /{proxy+}` or `$default`.
        let (verb, resource) = route.and_then(|route| route.split_once(' ')).unwrap_or(("ANY", "{}"));
        let one_method = verb != "ANY" || is_source(http.and_then(|http| text(&http.method)));
        let one_path = !resource.contains('{')
            || is_source(text(&self.raw_path))
            || is_source(http.and_then(|http| text(&http.path)));
        match route {
            _ if one_method && one_path => Remembered::Request,
            Some(route) => Remembered::Route(route),
            None => Remembered::Everything,
        }
    }

    /// The request it is about. Where the answer is a policy, the ARN says method and path: it is
    /// what API Gateway compares policies with.
    pub(super) fn facts<'e>(
        &'e self,
        shape: Shape,
        arn: Option<&MethodArn<'e>>,
        form: Form,
    ) -> RequestFacts<'e> {
        let mut facts = RequestFacts::default();
        let text = |text: &'e Option<Text<'a>>| Cow::Borrowed(text.as_ref().map_or("", |t| t.0.as_ref()));
        match shape {
            Shape::RestToken | Shape::RestRequest | Shape::HttpV1 | Shape::Unversioned | Shape::HttpV2
                if form == Form::Policy =>
            {
                facts.method = Cow::Borrowed(arn.map_or("", |arn| arn.verb));
                facts.path = Cow::Borrowed(arn.map_or("", |arn| arn.path));
            }
            Shape::WebSocket => {
                facts.method = Cow::Borrowed("GET");
                facts.path = Cow::Borrowed(Target::CONNECT);
            }
            Shape::RestToken | Shape::RestRequest | Shape::HttpV1 | Shape::Unversioned | Shape::HttpV2 => {
                let context = self.request_context.as_ref();
                facts.method =
                    context.and_then(|c| c.http.as_ref()).map_or(Cow::Borrowed(""), |h| text(&h.method));
                facts.path = Cow::Borrowed(self.path_within_stage());
            }
            Shape::AppSync => {
                // AppSync takes nothing else.
                facts.method = Cow::Borrowed("POST");
                facts.path = Cow::Borrowed("/graphql");
            }
        }
        match shape {
            Shape::RestToken | Shape::AppSync => {
                facts.headers.push((Cow::Borrowed("authorization"), text(&self.authorization_token)));
                facts.headers.retain(|(_, token)| !token.is_empty());
                if shape == Shape::AppSync {
                    // The token is that of the event, and nothing else of the request says one.
                    let others = |(name, _): &&(Text<'a>, Text<'a>)| {
                        is_header(name, "dpop") || is_header(name, "host")
                    };
                    facts.headers.extend(self.request_headers.0.iter().filter(others).map(borrowed));
                } else {
                    facts.no_proofs = Some(
                        "an authorizer of type TOKEN sees no proof; make it one of type REQUEST, with a TTL of 0",
                    );
                }
                facts.url = self.public_url(shape).and_then(|(origin, path)| dpop::url(&origin, path));
                return facts;
            }
            Shape::HttpV2 => match &self.raw_query_string {
                Some(query) => facts.add_raw_query(&query.0),
                None => self.query_string_parameters.add_to(&mut facts.query),
            },
            Shape::RestRequest | Shape::HttpV1 | Shape::Unversioned | Shape::WebSocket => {
                self.query_string_parameters.add_to(&mut facts.query);
                self.multi_value_query_string_parameters.add_to(&mut facts.query);
            }
        }
        // A REST API's event has each header in both maps; a proof must be seen as often as it was
        // sent.
        let is_proof = |(name, _): &&(Text<'a>, Text<'a>)| is_header(name, "dpop");
        let repeated = self.multi_value_headers.0.iter().any(|pair| is_proof(&pair));
        let headers = self.headers.0.iter().filter(|pair| !(repeated && is_proof(pair)));
        facts.headers.extend(headers.map(borrowed));
        self.multi_value_headers.add_to(&mut facts.headers);
        facts.url = self.public_url(shape).and_then(|(origin, path)| dpop::url(&origin, path));
        let cookies = self.cookies.iter().flatten();
        facts.headers.extend(cookies.map(|c| (Cow::Borrowed("cookie"), Cow::Borrowed(c.0.as_ref()))));
        facts
    }

    /// Origin and path as the client knows them, with the stage or the path of a custom domain.
    /// With payload 2.0 nothing says the path that an API mapping of a custom domain has.
    fn public_url(&self, shape: Shape) -> Option<(String, &str)> {
        let context = self.request_context.as_ref()?;
        let path = match shape {
            Shape::HttpV2 => text(&self.raw_path)?,
            Shape::RestRequest | Shape::HttpV1 | Shape::Unversioned => text(&context.path)?,
            // A handshake is sent to the stage.
            Shape::WebSocket => text(&context.stage)?,
            // Of AppSync's event only a header says it, which is the client's.
            Shape::RestToken | Shape::AppSync => return None,
        };
        Some((format!("https://{}", text(&context.domain_name)?), path))
    }

    /// `rawPath` without the stage that API Gateway puts in front on its own domain, unless the
    /// stage is `$default`.
    fn path_within_stage(&self) -> &str {
        let path = text(&self.raw_path).unwrap_or_default();
        let Some(context) = &self.request_context else { return path };
        let (stage, domain) = (text(&context.stage), text(&context.domain_name).unwrap_or_default());
        let named = |stage: &&str| !stage.is_empty() && *stage != "$default";
        match stage.filter(named).filter(|_| domain.contains(".execute-api.")) {
            Some(stage) => match path.strip_prefix('/').and_then(|rest| rest.strip_prefix(stage)) {
                Some("") => "/",
                Some(rest) if rest.starts_with('/') => rest,
                _ => path,
            },
            None => path,
        }
    }
}

impl Context<'_> {
    fn is_appsync(&self) -> bool {
        self.api_id.is_some() && self.query_string.is_some()
    }
}

fn is_header(name: &Text<'_>, lower: &str) -> bool {
    name.0.eq_ignore_ascii_case(lower)
}

fn borrowed<'e>((name, value): &'e (Text<'_>, Text<'_>)) -> (Cow<'e, str>, Cow<'e, str>) {
    (Cow::Borrowed(&*name.0), Cow::Borrowed(&*value.0))
}

fn text<'t>(text: &'t Option<Text<'_>>) -> Option<&'t str> {
    text.as_ref().map(|text| text.0.as_ref())
}

/// A string, borrowed where it has no escapes.
#[derive(Clone)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(v.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A string, or several, or null for none: the values of a map, and `identitySource`.
enum OneOrMany<'a> {
    One(Text<'a>),
    Many(Vec<Text<'a>>),
}

impl OneOrMany<'_> {
    fn has(&self, text: &str) -> bool {
        match self {
            Self::One(one) => one.0 == text,
            Self::Many(many) => many.iter().any(|one| one.0 == text),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for OneOrMany<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValuesVisitor;
        impl<'de> Visitor<'de> for ValuesVisitor {
            type Value = OneOrMany<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(OneOrMany::One(Text(Cow::Borrowed(v))))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany::One(Text(Cow::Owned(v.to_owned()))))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(OneOrMany::Many(Vec::new()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element::<Option<Text<'de>>>()? {
                    values.extend(value);
                }
                Ok(OneOrMany::Many(values))
            }
        }
        deserializer.deserialize_any(ValuesVisitor)
    }
}

/// A map of strings, or of lists of strings, as pairs in their order, a name with several values
/// several times; null is an empty map.
#[derive(Default)]
struct Pairs<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'a> Pairs<'a> {
    fn add_to<'e>(&'e self, pairs: &mut Vec<(Cow<'e, str>, Cow<'e, str>)>) {
        pairs.reserve(self.0.len());
        pairs.extend(self.0.iter().map(borrowed));
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings or of lists of strings")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Pairs::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(16);
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    match map.next_value::<OneOrMany<'de>>()? {
                        OneOrMany::One(value) => pairs.push((name, value)),
                        OneOrMany::Many(values) => {
                            pairs.extend(values.into_iter().map(|v| (name.clone(), v)))
                        }
                    }
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_any(PairsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_is_for_one_request_only_if_the_identity_sources_name_its_method_and_path() {
        use Remembered::{Everything, Request, Route};
        for (route, sources, expected) in [
            ("GET /orders/7", &["Bearer t", "GET /orders/7"][..], Request),
            ("GET /orders/7", &["Bearer t"], Everything),
            ("GET /orders/7", &["Bearer t", "GET"], Everything),
            ("GET /orders/7", &["Bearer t", "/test/orders/7"], Everything),
            ("GET /orders/7", &["Bearer t", "GET", "/test/orders/7"], Request),
            ("GET /orders/{id}", &["Bearer t", "GET /orders/{id}"], Route("GET /orders/{id}")),
            ("GET /orders/{id}", &["Bearer t", "GET /orders/{id}", "/test/orders/7"], Request),
            ("ANY /orders/7", &["Bearer t", "ANY /orders/7"], Route("ANY /orders/7")),
            ("ANY /orders/7", &["Bearer t", "ANY /orders/7", "GET"], Request),
            ("ANY /{proxy+}", &["Bearer t", "ANY /{proxy+}"], Route("ANY /{proxy+}")),
            ("GET /{proxy+}", &["Bearer t", "GET /{proxy+}", "GET"], Route("GET /{proxy+}")),
            ("ANY /{proxy+}", &["Bearer t", "GET", "/test/orders/7"], Request),
            ("$default", &["Bearer t", "$default"], Route("$default")),
            ("$default", &["Bearer t", "$default", "GET", "/test/orders/7"], Request),
        ] {
            let event = json!({
                "type": "REQUEST", "version": "2.0", "routeKey": route, "rawPath": "/test/orders/7", "identitySource": sources,
                "requestContext": { "http": { "method": "GET", "path": "/test/orders/7" } },
            });
            let text = event.to_string();
            let event = Event::parse(text.as_bytes()).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(event.remembered(), expected, "{route} {sources:?}");
        }
        let none =
            Event::parse(br#"{"routeKey":"$default","identitySource":null}"#).unwrap_or_else(|_| panic!());
        assert_eq!(none.remembered(), Everything);
    }
}
