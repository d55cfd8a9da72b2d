//! `POST /sign`: mint a token for an authenticated client; `POST /uploads`: the same for a token of
//! profile `upload`.
//!
//! Order: size, form of the body, who is asking, per-client rate, policy, signature. A caller that
//! does not prove who it is learns nothing about what would have been allowed, and its address is
//! charged: past the rate of the address it gets 429 instead of its reason, whatever that was. A
//! caller that does prove it is never charged nor stopped there: where the header proves it, not
//! even for a body that cannot be read. Pinned by `tests/routes.rs`.

use super::{
    App, Peer,
    body::{self, MediaType},
    credentials,
    error::HttpError,
};
use crate::{
    Caller, Client, Ids, Minted, RefusedRequest,
    request::{MEMBERS, Member, RequestError, SignRequest},
    upload::{UPLOAD_PROFILE, UploadRequest},
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is asked for, by the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A token of any profile.
    Token,
    /// A token of the profile of uploads.
    Upload,
}

pub(super) async fn answer(
    app: &App,
    peer: Peer,
    headers: &HeaderMap,
    body: Body,
    wanted: Wanted,
) -> Response {
    let ids = match Ids::random() {
        Ok(ids) => ids,
        Err(why) => return HttpError::Mint(why).into_response(),
    };
    let mut response = match mint(app, peer, headers, body, wanted, &ids).await {
        Ok(minted) => success(&minted, wanted),
        Err(why) => {
            let (why, client) = match why {
                Refused::Client(why, client) => (why, Some(client)),
                Refused::Stranger(why) => {
                    let charged = app.rates.charge_address(peer.0);
                    (charged.err().map_or(why, HttpError::TooManyRequests), None)
                }
            };
            record(app, peer, &ids, client.as_deref(), &why);
            why.into_response()
        }
    };
    if let Ok(id) = HeaderValue::try_from(ids.request) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Records a refusal. Those of the mint are recorded where they arise, with all that is known
/// there.
fn record(app: &App, peer: Peer, ids: &Ids, client: Option<&Client>, why: &HttpError) {
    if matches!(why, HttpError::Mint(_)) {
        return;
    }
    // A client that asks too often is summed up with strangers: a record for each would be as many
    // as it likes.
    let client = client.filter(|_| !matches!(why, HttpError::TooManyRequests(_)));
    let request = RefusedRequest {
        request_id: &ids.request,
        address: peer.0,
        client: client.map(|client| client.id.as_str()),
        grant: None,
        client_token: None,
    };
    app.issuer.refuse(&request, why.code(), &why.to_string());
}

/// Why there is no token, and the caller if it had proved who it is.
enum Refused {
    Client(HttpError, Arc<Client>),
    Stranger(HttpError),
}

/// Before a caller has proved who it is, every error is a stranger's.
impl<E: Into<HttpError>> From<E> for Refused {
    fn from(why: E) -> Self {
        Self::Stranger(why.into())
    }
}

async fn mint(
    app: &App,
    peer: Peer,
    headers: &HeaderMap,
    body: Body,
    wanted: Wanted,
    ids: &Ids,
) -> Result<Minted, Refused> {
    let limits = app.issuer.settings().limits;
    let unread = |why| unread(app, headers, why);
    let media_type = body::media_type(headers).map_err(unread)?;
    let bytes = body::read(body, limits.body_bytes).await.map_err(unread)?;
    let form;
    let parsed = match media_type {
        MediaType::Json if looks_like_a_form(&bytes) => Err(HttpError::BadBody(FORM_AS_JSON)),
        MediaType::Json => SignRequest::parse(&bytes, limits.json_depth).map_err(HttpError::from),
        MediaType::Form => match Form::parse(&bytes) {
            Ok(members) => {
                form = members;
                form.request(limits.json_depth)
            }
            Err(why) => Err(why),
        },
    };
    let mut request = parsed.map_err(unread)?;
    let shown = request.credentials.as_ref().map(|(id, secret)| (id.as_ref(), secret.as_ref()));
    let shown = credentials::select(headers, shown).map_err(unread)?;
    let client = app.issuer.settings().clients.authenticate(&shown.id, shown.readings());
    let client = Arc::clone(client.ok_or(HttpError::InvalidClient)?);
    let of_client = |why| Refused::Client(why, Arc::clone(&client));
    app.rates.check_client(client.id.as_str()).map_err(HttpError::TooManyRequests).map_err(of_client)?;
    match (wanted, request.profile.as_deref()) {
        (Wanted::Token, _) | (Wanted::Upload, Some(UPLOAD_PROFILE)) => {}
        (Wanted::Upload, None) => request.profile = Some(Cow::Borrowed(UPLOAD_PROFILE)),
        (Wanted::Upload, Some(_)) => return Err(of_client(RequestError::Profile.into())),
    }
    let caller = Caller::Client(&client);
    let minted = app.issuer.mint(caller, &request, app.issuer.now(), ids, Some(peer.0)).await;
    minted.map_err(HttpError::Mint).map_err(of_client)
}

/// Whose fault it is that a body cannot be read: the client's that the header proves, at its rate,
/// or a stranger's. What cannot be read may have had credentials in it, which then prove nobody.
fn unread(app: &App, headers: &HeaderMap, why: HttpError) -> Refused {
    let shown = credentials::select(headers, None).ok();
    let client = shown
        .and_then(|shown| app.issuer.settings().clients.authenticate(&shown.id, shown.readings()).cloned());
    let Some(client) = client else { return Refused::Stranger(why.unnamed()) };
    let rate = app.rates.check_client(client.id.as_str());
    Refused::Client(rate.err().map_or(why, HttpError::TooManyRequests), client)
}

fn success(minted: &Minted, wanted: Wanted) -> Response {
    // A compact token needs no escaping; a kid may. Serialising a string does not fail.
    let kid = serde_json::to_string(&minted.kid).unwrap_or_default();
    let expires_in = minted.expires_in.as_secs().to_string();
    let (name, kind) = match wanted {
        // RFC 8693 §2.2.1 has this word for what is no access token.
        Wanted::Token if minted.object.is_some() => ("access_token", r#""token_type":"N_A","#),
        Wanted::Token => ("access_token", r#""token_type":"Bearer","#),
        Wanted::Upload => ("upload_token", ""),
    };
    // What an upload is tied to has characters alone that need no escaping: a `jti`, a bucket and a
    // key that we made.
    let of_upload = minted.object.as_ref().filter(|_| wanted == Wanted::Upload).map(|object| {
        let jti = minted.jti.as_deref().unwrap_or_default();
        format!(r#","jti":"{jti}","bucket":"{}","key":"{}""#, object.bucket, object.key)
    });
    let body = [
        r#"{""#,
        name,
        r#"":""#,
        &minted.token,
        r#"","#,
        kind,
        r#""expires_in":"#,
        &expires_in,
        r#","kid":"#,
        &kid,
        of_upload.as_deref().unwrap_or_default(),
        "}",
    ];
    let mut response = Response::new(Body::from(body.concat()));
    // Room for these, the request id, and what hyper adds.
    let headers = response.headers_mut();
    headers.reserve(6);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// What curl does by itself with `-d`.
const JSON_AS_FORM: &str =
    "the body is JSON, and its Content-Type says that it is a form; send Content-Type: application/json";
const FORM_AS_JSON: &str = "the body is a form, and its Content-Type says that it is JSON; send Content-Type: application/x-www-form-urlencoded";

/// Whether a body that should be JSON begins as a form does, with a name and an equals sign.
fn looks_like_a_form(body: &[u8]) -> bool {
    let name = body.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    name > 0 && body.get(name) == Some(&b'=')
}

/// The form body: the members of the JSON body as parameters, `data`, `metadata` and `upload` as
/// JSON texts.
struct Form(BTreeMap<String, String>);

impl Form {
    fn parse(body: &Bytes) -> Result<Self, HttpError> {
        let text = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        if text.trim_ascii_start().starts_with(b"{") {
            return Err(HttpError::BadBody(JSON_AS_FORM));
        }
        let not_utf8 = || HttpError::BadBody("the form is not UTF-8");
        let body = std::str::from_utf8(body).map_err(|_| not_utf8())?;
        let mut members = BTreeMap::new();
        for pair in body.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text| credentials::form_decode(text).ok_or_else(not_utf8);
            // RFC 6749 §3.2: parameters must not be included more than once.
            if members.insert(decode(name)?, decode(value)?).is_some() {
                return Err(HttpError::BadBody("a form parameter occurs twice"));
            }
        }
        if let Some(name) = Member::unknown(members.keys().map(String::as_str), &MEMBERS) {
            return Err(RequestError::UnknownMember(name).into());
        }
        Ok(Self(members))
    }

    fn request(&self, max_depth: usize) -> Result<SignRequest<'_>, HttpError> {
        let member = |name| self.0.get(name).map(String::as_str);
        let credentials = match (member("client_id"), member("client_secret")) {
            (Some(id), Some(secret)) => Some((Cow::Borrowed(id), Cow::Borrowed(secret))),
            (None, None) => None,
            _ => return Err(RequestError::HalfCredentials.into()),
        };
        let data = member("data").ok_or(RequestError::Missing("data"))?;
        let profile = member("profile").map(Cow::Borrowed);
        let mut request = SignRequest::from_parts(data, member("metadata"), profile, credentials, max_depth)?;
        request.upload = member("upload").map(UploadRequest::parse).transpose()?;
        Ok(request)
    }
}
