//! What is said of uploads: the profile of their tokens, and where the files go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawUploadProfile {
    /// The ring that signs.
    pub(crate) ring: String,
}

impl Default for RawUploadProfile {
    fn default() -> Self {
        Self { ring: "default".into() }
    }
}

/// One kind of upload: where the files go, and what they may be.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawUpload {
    /// The bucket. It needs a CORS rule that lets the page send `POST`.
    pub(crate) bucket: String,
    /// The bucket's region, as it is in signatures.
    pub(crate) region: String,
    /// Another service than AWS that takes the same: `https://HOST`, or `http` on loopback.
    /// Browsers send files there, so an endpoint in the environment (`AWS_ENDPOINT_URL`) is not
    /// used.
    #[serde(default)]
    pub(crate) endpoint: Option<String>,
    /// Whether the bucket is named in the path of the URL, or in front of the host. Default: in
    /// front of AWS's host if the name has no dot, and in the path otherwise.
    #[serde(default)]
    pub(crate) path_style: Option<bool>,
    /// What the objects are called, like `uploads/{sub}/{uuid}`: segments of fixed text
    /// (`A-Z a-z 0-9 - _ . =`) or of one claim of the token, which is escaped; the first is fixed.
    /// In the last stands `{uuid}` or `{jti}`, perhaps with text around it, so that no upload takes
    /// the place of another.
    pub(crate) key: String,
    /// What the files may be: exact types like `image/png`. A form is for one of them.
    pub(crate) content_types: Vec<String>,
    /// The least size of a file, in bytes.
    #[serde(default = "one_byte")]
    pub(crate) min_bytes: u64,
    /// The most, in bytes; at most 5 GiB, which is what S3 takes in one POST.
    pub(crate) max_bytes: u64,
    /// How long a form may be used, 30s to 1h, and never beyond the end of the AWS credentials that
    /// sign it. It is the lifetime of the token around it.
    #[serde(default = "five_minutes")]
    pub(crate) lifetime: String,
    /// Whether each request has to name the SHA-256 of its file. S3 takes no other bytes then.
    #[serde(default)]
    pub(crate) require_sha256: bool,
    /// The access key id of a service with keys of its own. Default: the credentials of AWS's
    /// chain, which may be those of a session. They need `s3:PutObject` below the fixed beginning
    /// of `key` and nothing else, for forms can do what they can.
    #[serde(default)]
    pub(crate) access_key_id: Option<String>,
    /// The secret access key that belongs to it: a reference like `env:NAME` or `file:PATH`.
    #[serde(default)]
    pub(crate) secret_access_key: Option<String>,
}

fn one_byte() -> u64 {
    1
}

fn five_minutes() -> String {
    "5m".into()
}
