//! One signed request to a service of AWS, for services that need only one or two operations.
//!
//! Under the same rules for region, endpoint, proxy (`HTTPS_PROXY`, `NO_PROXY`), credentials and
//! time as the SDK's clients. What may be asked again is asked again with growing pauses, and no
//! redirect is followed. No error holds anything of an answer but its code.
//!
//! The SDK's clients would bring hundreds of operations for these (docs/decisions/0038).

use std::{
    error::Error,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, uri::Scheme};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            Client, Error as SendError,
            connect::{HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::TokioExecutor,
};
use serde_json::Value;

use crate::{ATTEMPT, ATTEMPTS, BACKOFF, CONNECT};

/// The pause before a second attempt, at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The same where AWS was asked too often, as in the SDK.
const FIRST_PAUSE_THROTTLED: Duration = Duration::from_secs(1);
/// The most of a foreign text that is shown, in characters.
const LONGEST: usize = 300;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// No credentials were found.
    NoCredentials(String),
    /// The request cannot be signed or written.
    NotSigned(String),
    /// No answer, or not in time.
    Unavailable(String),
}

impl Unanswered {
    pub(crate) fn late(limit: Duration) -> Self {
        Self::Unavailable(format!("no answer within {limit:?}"))
    }
}

/// A request. Its body may be a secret.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Bytes,
    /// The service as signatures name it.
    pub(crate) service: &'static str,
    /// The region of the signature.
    pub(crate) region: String,
}

/// The answer. Its body may be a secret.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// `x-amzn-errortype`.
    pub(crate) kind: Option<String>,
    /// `None` where it is longer than what is asked for may be.
    pub(crate) body: Option<Bytes>,
}

/// Keeps no connection: what is asked here is asked once.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    tls: rustls::ClientConfig,
    proxies: Arc<Matcher>,
}

impl Http {
    /// Reads the system's certificate roots, and asks for nothing yet.
    pub(crate) fn new() -> Result<Self, Unanswered> {
        let tls = rustls::ClientConfig::builder().with_native_roots();
        let tls = tls.map_err(|why| Unanswered::Unavailable(format!("no certificate roots: {why}")))?;
        Ok(Self { tls: tls.with_no_client_auth(), proxies: Arc::new(Matcher::from_env()) })
    }

    /// Sends it, through a proxy where one is set for that host. What goes without TLS stays on this
    /// machine.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = || HttpsConnectorBuilder::new().with_tls_config(self.tls.clone());
        let https = || tls().https_or_http().enable_http1();
        let mut client = Client::builder(TokioExecutor::new());
        client.pool_max_idle_per_host(0);
        let secure = request.uri().scheme() == Some(&Scheme::HTTPS);
        let Some(proxy) = self.proxies.intercept(request.uri()).filter(|_| secure) else {
            return client.build(https().wrap_connector(tcp)).request(request).await;
        };
        // A proxy may be `https://` itself.
        let mut tunnel = Tunnel::new(proxy.uri().clone(), https().wrap_connector(tcp));
        if let Some(identity) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(identity.clone());
        }
        client.build(https().wrap_connector(tunnel)).request(request).await
    }

    /// One attempt; of the answer at most `most` bytes are read.
    pub(crate) async fn ask(
        &self,
        config: &SdkConfig,
        call: Call,
        most: usize,
    ) -> Result<Answer, Unanswered> {
        let unavailable = |why: &(dyn Error + 'static)| Unanswered::Unavailable(causes(why));
        let asked = async {
            let request = signed(call, config).await?;
            let response = self.send(request).await.map_err(|why| unavailable(&why))?;
            let status = response.status();
            let kind = response.headers().get("x-amzn-errortype").and_then(|kind| kind.to_str().ok());
            let kind = kind.map(str::to_owned);
            let body = match Limited::new(response.into_body(), most).collect().await {
                Ok(body) => Some(body.to_bytes()),
                Err(why) if why.is::<http_body_util::LengthLimitError>() => None,
                Err(why) => return Err(unavailable(why.as_ref())),
            };
            Ok(Answer { status, kind, body })
        };
        tokio::time::timeout(ATTEMPT, asked).await.unwrap_or_else(|_| Err(Unanswered::late(ATTEMPT)))
    }
}

/// The pauses between attempts, which grow.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    left: u32,
}

impl Pauses {
    pub(crate) const fn new() -> Self {
        Self { next: FIRST_PAUSE, left: ATTEMPTS - 1 }
    }

    /// Waits until the next attempt. Returns `false` at once if no attempt is left.
    pub(crate) async fn wait(&mut self, throttled: bool) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        let pause = if throttled { self.next.max(FIRST_PAUSE_THROTTLED) } else { self.next };
        tokio::time::sleep(jittered(pause)).await;
        *self = Self { next: pause.saturating_mul(2).min(BACKOFF), left };
        true
    }
}

async fn signed(call: Call, config: &SdkConfig) -> Result<Request<Full<Bytes>>, Unanswered> {
    let provider = config.credentials_provider();
    let provider = provider.ok_or_else(|| Unanswered::NoCredentials("no provider".to_owned()))?;
    let credentials = provider.provide_credentials().await;
    let identity = credentials.map_err(|why| Unanswered::NoCredentials(causes(&why)))?.into();

    let mut settings = SigningSettings::default();
    // S3 signs a path as it is sent.
    if call.service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a signature says when it was made, and is taken for minutes"
    )]
    let now = SystemTime::now();
    let not_signed = |why: &dyn Error| Unanswered::NotSigned(why.to_string());
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&call.region)
        .name(call.service)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|why| not_signed(&why))?
        .into();
    let body = SignableBody::Bytes(&call.body);
    let signable = SignableRequest::new(call.method.as_str(), &call.url, call.headers.iter().copied(), body);
    let signature = signable.and_then(|signable| sign(signable, &parameters));
    let (instructions, _) = signature.map_err(|why| not_signed(&why))?.into_parts();

    let mut request = Request::builder().method(call.method).uri(&call.url);
    for (name, value) in call.headers {
        request = request.header(name, value);
    }
    request = request.header("user-agent", concat!("countersign/", env!("CARGO_PKG_VERSION")));
    let mut request = request.body(Full::new(call.body)).map_err(|why| not_signed(&why))?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

/// The code of a refusal, which services send in a header, in JSON or in XML. Empty if they send
/// no code.
pub(crate) fn code(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(answer.body.as_deref().unwrap_or_default());
    let json: Option<Value> = serde_json::from_str(&text).ok();
    let of_json = || Some(json.as_ref()?.get("__type")?.as_str()?.to_owned());
    let of_xml = || Some(text.split_once("<Code>")?.1.split_once("</Code>")?.0.to_owned());
    let code = answer.kind.clone().or_else(of_json).or_else(of_xml).unwrap_or_default();
    // `com.amazonaws.ssm#ParameterNotFound:http://…`
    let code = code.rsplit_once('#').map_or(code.as_str(), |(_, code)| code);
    code.split(':').next().unwrap_or_default().chars().take(LONGEST).collect()
}

/// Whether it may do the next time. The codes are those that the SDK tries again.
pub(crate) fn is_transient(status: StatusCode, code: &str) -> bool {
    status.is_server_error() || matches!(code, "RequestTimeout" | "RequestTimeoutException")
}

/// Whether the service was asked too often. The codes are those of the SDK.
pub(crate) fn is_throttling(status: StatusCode, code: &str) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || matches!(
            code,
            "BandwidthLimitExceeded"
                | "EC2ThrottledException"
                | "LimitExceededException"
                | "PriorRequestNotComplete"
                | "ProvisionedThroughputExceededException"
                | "RequestLimitExceeded"
                | "RequestThrottled"
                | "RequestThrottledException"
                | "SlowDown"
                | "ThrottledException"
                | "Throttling"
                | "ThrottlingException"
                | "TooManyRequestsException"
                | "TransactionInProgressException"
        )
}

/// Whether this identity is not let in, or may not do it.
pub(crate) fn is_denial(status: StatusCode, code: &str) -> bool {
    status == StatusCode::FORBIDDEN
        || matches!(
            code,
            "AccessDeniedException"
                | "AccessDenied"
                | "UnrecognizedClientException"
                | "InvalidSignatureException"
                | "InvalidClientTokenId"
                | "ExpiredTokenException"
                | "ExpiredToken"
                | "SignatureDoesNotMatch"
                | "InvalidAccessKeyId"
                | "MissingAuthenticationTokenException"
        )
}

/// An error with its causes: the outermost alone says only "client error".
fn causes(why: &(dyn Error + 'static)) -> String {
    let mut text = why.to_string();
    let mut source = why.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text.chars().take(LONGEST).collect()
}

/// Between half and all of it. The standard library's hash keys are random, which is all that is
/// asked for.
fn jittered(pause: Duration) -> Duration {
    let half = u64::try_from(pause.as_millis() / 2).unwrap_or(u64::MAX);
    let less = RandomState::new().build_hasher().finish().checked_rem(half).unwrap_or_default();
    pause.saturating_sub(Duration::from_millis(less))
}
