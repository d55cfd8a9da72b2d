//! The typed form of a mint request: what `POST /sign` carries in its body and `countersign sign`
//! on its command line, or what a grant of `POST /token` asks for.
//!
//! Strict: unknown members, duplicate members, wrong types and too much nesting are refused, each
//! with what is wrong. The claims stay the text they were, so numbers of any size, nested values
//! and Unicode leave as they came.

use crate::{grant::Granted, policy::Audience, upload::UploadRequest};
use countersign_jose::{
    MAX_CLAIMS_DEPTH,
    json::{JsonError, Object, WrongType, string},
    quoted,
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, time::Duration};

/// What a caller asks for.
pub struct SignRequest<'a> {
    /// The claims, or whatever else the profile takes.
    pub data: Object<'a>,
    /// How long the token should live.
    pub duration: Option<Duration>,
    /// For whom it should be.
    pub audience: Option<AudienceRequest>,
    /// Which shape it should have.
    pub profile: Option<Cow<'a, str>>,
    /// Client credentials in the body (RFC 6749 §2.3.1).
    pub credentials: Option<(Cow<'a, str>, Cow<'a, str>)>,
    /// The grant it came by; none for `POST /sign` and the command line.
    pub granted: Option<Granted<'a>>,
    /// What is to be uploaded, where the token is for that.
    pub upload: Option<UploadRequest<'a>>,
}

impl fmt::Debug for SignRequest<'_> {
    /// Without the claims and the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignRequest").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// The audience a caller asks for, 1 to 20 of them and none empty; `aud` takes the same form (RFC
/// 7519 §4.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceRequest(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    One(String),
    Many(Vec<String>),
}

impl AudienceRequest {
    /// One, a string.
    ///
    /// # Errors
    ///
    /// If it is empty.
    pub fn one(audience: String) -> Result<Self, RequestError> {
        Self(Form::One(audience)).checked()
    }

    /// A list.
    ///
    /// # Errors
    ///
    /// If it is empty or too long, or one of them is empty.
    pub fn many(audiences: Vec<String>) -> Result<Self, RequestError> {
        Self(Form::Many(audiences)).checked()
    }

    /// The audiences, one or many.
    pub fn names(&self) -> &[String] {
        match &self.0 {
            Form::One(one) => std::slice::from_ref(one),
            Form::Many(many) => many,
        }
    }

    /// The same, borrowed, as it goes into a token.
    pub(crate) fn audience(&self) -> Audience<'_> {
        match &self.0 {
            Form::One(one) => Audience::One(one),
            Form::Many(many) => Audience::Many(many),
        }
    }

    fn checked(self) -> Result<Self, RequestError> {
        let names = self.names();
        let fits = (1..=20).contains(&names.len()) && names.iter().all(|name| !name.is_empty());
        if fits { Ok(self) } else { Err(RequestError::BadAudience) }
    }
}

/// Why a body is not a mint request. Names members, of the format or unknown, and never shows what
/// the caller sent in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not acceptable JSON.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A member of the format has the wrong type.
    #[error("{0}")]
    WrongType(#[from] WrongType),
    /// A member that is not in the format.
    #[error(
        "unknown member {0}; claims go into `data`, and beside it `metadata`, `profile`, `upload`, `client_id` and \
         `client_secret` are known"
    )]
    UnknownMember(Member),
    /// A member of `metadata` that is not in the format.
    #[error(
        "unknown member {0} in `metadata`; `duration` and `audience` are known, and claims go into `data`"
    )]
    UnknownMetadata(Member),
    /// A member of `upload` that is not in the format.
    #[error(
        "unknown member {0} in `upload`; `to`, `content_type`, `bytes` and `sha256` are known, and claims go into `data`"
    )]
    UnknownUpload(Member),
    /// Another profile at a route that mints one.
    #[error("`profile` has no place at this path, whose tokens are all of one profile; leave it out")]
    Profile,
    /// A member that must be there.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// `client_id` without `client_secret` or the other way round.
    #[error("`client_id` and `client_secret` belong together")]
    HalfCredentials,
    /// An empty audience, or too many.
    #[error("`metadata.audience` must be one audience or a list of 1 to 20, none of them empty")]
    BadAudience,
}

impl RequestError {
    /// The same without a name that the caller sent.
    pub(crate) fn unnamed(self) -> Self {
        match self {
            Self::UnknownMember(_) => Self::UnknownMember(Member::unnamed()),
            Self::UnknownMetadata(_) => Self::UnknownMetadata(Member::unnamed()),
            Self::UnknownUpload(_) => Self::UnknownUpload(Member::unnamed()),
            why => why,
        }
    }
}

/// The name of a member that is not in the format, as it is shown: quoted and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member(String);

impl Member {
    /// A secret that stands where a name should is not shown whole.
    const SHOWN: usize = 24;

    pub(crate) fn new(name: &str) -> Self {
        let cut: String = name.chars().take(Self::SHOWN).collect();
        let more = if cut.len() < name.len() { "..." } else { "" };
        Self(format!("{}{more}", quoted(&cut)))
    }

    fn unnamed() -> Self {
        Self("(named to a client whose `Authorization` header is right)".to_owned())
    }

    /// The first member that is not among those that are known.
    pub(crate) fn unknown<'n>(mut names: impl Iterator<Item = &'n str>, known: &[&str]) -> Option<Self> {
        names.find(|name| !known.contains(name)).map(Self::new)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The members of a body, in JSON or as a form.
pub(crate) const MEMBERS: [&str; 6] = ["data", "metadata", "profile", "upload", "client_id", "client_secret"];

impl<'a> SignRequest<'a> {
    /// The name of the profile: `jwt` if none is asked for.
    pub(crate) fn profile_name(&self) -> &str {
        self.profile.as_deref().unwrap_or("jwt")
    }

    /// Reads the JSON body of `POST /sign`.
    pub fn parse(body: &'a [u8], max_depth: usize) -> Result<Self, RequestError> {
        // What is nested is parsed below: `data` and `metadata` strictly, and nothing else may be
        // an object or a list.
        let body = Object::parse_outer(body)?;
        if let Some(name) = Member::unknown(body.names(), &MEMBERS) {
            return Err(RequestError::UnknownMember(name));
        }
        let data = body.get("data").ok_or(RequestError::Missing("data"))?;
        let credentials = match (body.string("client_id")?, body.string("client_secret")?) {
            (Some(id), Some(secret)) => Some((id, secret)),
            (None, None) => None,
            _ => return Err(RequestError::HalfCredentials),
        };
        let metadata = body.get("metadata").map(|raw| raw.get());
        let depth_left = max_depth.saturating_sub(1);
        let mut request =
            Self::from_parts(data.get(), metadata, body.string("profile")?, credentials, depth_left)?;
        request.upload = body.get("upload").map(|raw| UploadRequest::parse(raw.get())).transpose()?;
        Ok(request)
    }

    /// Puts a request together from JSON texts, as the form body and the command line have them.
    pub fn from_parts(
        data: &'a str,
        metadata: Option<&'a str>,
        profile: Option<Cow<'a, str>>,
        credentials: Option<(Cow<'a, str>, Cow<'a, str>)>,
        max_depth: usize,
    ) -> Result<Self, RequestError> {
        // A verifier reads claims to this depth and refuses what is deeper.
        let data = match Object::parse_text(data, max_depth.min(MAX_CLAIMS_DEPTH)) {
            Err(JsonError::NotAnObject) => Err(WrongType { name: "data", expected: "a JSON object" })?,
            other => other?,
        };
        let (mut duration, mut audience) = (None, None);
        if let Some(text) = metadata {
            let metadata = match Object::parse_text(text, max_depth) {
                Err(JsonError::NotAnObject) => {
                    Err(WrongType { name: "metadata", expected: "a JSON object" })?
                }
                other => other?,
            };
            if let Some(name) = Member::unknown(metadata.names(), &["duration", "audience"]) {
                return Err(RequestError::UnknownMetadata(name));
            }
            duration = metadata.get("duration").map(duration_of).transpose()?;
            audience = metadata.get("audience").map(audience_of).transpose()?;
        }
        Ok(Self { data, duration, audience, profile, credentials, granted: None, upload: None })
    }

    /// What a grant asks for: a token of the profile that it names, for the client's default
    /// lifetime.
    pub fn by_grant(granted: Granted<'a>, audience: Option<AudienceRequest>) -> Self {
        Self {
            data: Object::default(),
            duration: None,
            audience,
            profile: Some(Cow::Borrowed(granted.profile)),
            credentials: None,
            granted: Some(granted),
            upload: None,
        }
    }
}

fn duration_of(raw: &RawValue) -> Result<Duration, WrongType> {
    let seconds = raw.get().parse::<u32>().ok().filter(|seconds| *seconds > 0);
    let wrong = WrongType { name: "metadata.duration", expected: "a whole number of seconds above 0" };
    seconds.map(|s| Duration::from_secs(s.into())).ok_or(wrong)
}

fn audience_of(raw: &RawValue) -> Result<AudienceRequest, RequestError> {
    let wrong = WrongType { name: "metadata.audience", expected: "a string or a list of strings" };
    match string(raw) {
        Some(one) => AudienceRequest::one(one.into_owned()),
        None => AudienceRequest::many(serde_json::from_str(raw.get()).map_err(|_| wrong)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_shows_neither_credentials_nor_claims() {
        let body =
            r#"{"data":{"sub":"alice"},"client_id":"app","client_secret":"cssec_secret","profile":"jwt"}"#;
        let shown = format!("{:?}", SignRequest::parse(body.as_bytes(), 4).unwrap());
        assert!(shown.contains("jwt") && !shown.contains("secret") && !shown.contains("alice"), "{shown}");
    }

    #[test]
    fn what_is_nested_in_a_body_is_checked_as_strictly_as_the_body() {
        let parse = |body: &str| SignRequest::parse(body.as_bytes(), 4).map(|_| ());
        let json = |why| Err(RequestError::Json(why));
        let wrong = |name, expected| Err(RequestError::WrongType(WrongType { name, expected }));
        for (body, expected) in [
            (r#"{"data":{"a":[{}]},"metadata":{"duration":1}}"#, Ok(())),
            (r#"{"data":{"a":[{"b":[]}]}}"#, json(JsonError::TooDeep)),
            (r#"{"data":{},"metadata":{"audience":[[[]]]}}"#, json(JsonError::TooDeep)),
            (r#"{"data":{"a":1,"a":1}}"#, json(JsonError::DuplicateMember)),
            (r#"{"data":{"x":[{"a":1,"\u0061":1}]}}"#, json(JsonError::DuplicateMember)),
            (r#"{"data":{},"metadata":{"duration":1,"duration":2}}"#, json(JsonError::DuplicateMember)),
            (r#"{"data":{},"metadata":{"audience":[{"a":1,"a":2}]}}"#, json(JsonError::DuplicateMember)),
            (r#"{"data":{},"profile":{"a":1,"a":2}}"#, wrong("profile", "a string")),
            (r#"{"data":{},"client_id":["a"],"client_secret":"b"}"#, wrong("client_id", "a string")),
            (r#"{"data":{"a":[1e400]}}"#, json(JsonError::NumberTooLarge { number: "1e400".to_owned() })),
            (r#"{"data":["a"]}"#, wrong("data", "a JSON object")),
            (r#"{"data":{},"other":{"a":1,"a":2}}"#, Err(RequestError::UnknownMember(Member::new("other")))),
        ] {
            assert_eq!(parse(body), expected, "{body}");
        }
        for body in [r#"{"data":{"a":["\ud800"]}}"#, r#"{"data":{"a":[1,]}}"#] {
            assert!(matches!(parse(body), Err(RequestError::Json(JsonError::Malformed { .. }))), "{body}");
        }
    }
}
